"""App of the tenants: their records, and the one way into their schemas."""

import threading
from collections import UserDict
from typing import Any

from django.apps import AppConfig

from fleetprompt import versions

WRITTEN_FOR = {"django": ("5.2",)}
"""The versions whose private parts this module and `fleetprompt.tenants.plans` use."""

versions.guard(__name__, WRITTEN_FOR)


class _PerThread(threading.local, UserDict[Any, Any]):
    """A dictionary with other contents in each thread."""


class TenantsConfig(AppConfig):
    """Django's view of the app; it lives in the public schema."""

    name = "fleetprompt.tenants"
    label = "tenants"

    def ready(self) -> None:
        """Give each thread a cache of the content types of its own schema.

        Their ids differ between schemas. django-tenants clears the cache whenever a connection changes its
        schema, but with one cache for all threads another thread may restore those of its own schema a
        moment later: the admin log would then name a wrong model.
        """
        from django.contrib.contenttypes.models import ContentType

        manager: Any = ContentType.objects
        manager._cache = _PerThread()
