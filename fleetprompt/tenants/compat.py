"""Compatibility: the private cache of Django's content types."""

import threading
from collections import UserDict
from typing import Any

from fleetprompt import versions

WRITTEN_FOR = {"django": ("5.2",)}
"""The versions whose private parts this module uses."""

versions.guard(__name__, WRITTEN_FOR)


class _PerThread(threading.local, UserDict[Any, Any]):
    """A dictionary with other contents in each thread."""


def cache_content_types_per_thread() -> None:
    """Have each thread cache the content types of its own schema.

    Their ids differ between schemas. django-tenants clears the cache whenever a connection changes its
    schema, but with one cache for all threads another thread may restore those of its own schema a moment
    later: the admin log would then name a wrong model.
    """
    from django.contrib.contenttypes.models import ContentType

    manager: Any = ContentType.objects
    manager._cache = _PerThread()
