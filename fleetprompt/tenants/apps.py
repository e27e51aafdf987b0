"""The tenants app: who the communities are, and the one way into their schemas."""

import threading
from collections import UserDict
from typing import Any

from django.apps import AppConfig


class TenantsConfig(AppConfig):
    """Django's view of the app; it lives in the public schema."""

    name = "fleetprompt.tenants"
    label = "tenants"

    def ready(self) -> None:
        """Let each thread remember the content types of its own schema.

        Their ids differ between schemas. django-tenants forgets them whenever a connection changes
        its schema, but by default another thread may bring back those of its own a moment later: the
        admin log would then name a wrong model.
        """
        from django.contrib.contenttypes.models import ContentType

        from fleetprompt.tenants import checks  # noqa: F401

        manager: Any = ContentType.objects
        manager._cache = _PerThread()


class _PerThread(threading.local, UserDict[Any, Any]):
    """A dictionary that is another one in each thread."""
