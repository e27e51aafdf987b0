"""App of the tenants: their records, and the one way into their schemas."""

import threading
from collections import UserDict
from typing import Any

from django.apps import AppConfig


class TenantsConfig(AppConfig):
    """Django's view of the app; it lives in the public schema."""

    name = "fleetprompt.tenants"
    label = "tenants"

    def ready(self) -> None:
        """Give each thread a cache of the content types of its own schema.

        Their ids differ between schemas. django-tenants clears the cache when a connection changes its
        schema, but another thread could fill a shared cache with its own ids at once: the admin log would
        then name a wrong model.
        """
        from django.contrib.contenttypes.models import ContentType

        manager: Any = ContentType.objects
        manager._cache = _PerThread()


class _PerThread(threading.local, UserDict[Any, Any]):
    """A dictionary with contents of its own in each thread."""
