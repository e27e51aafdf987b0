"""Compatibility: private parts of psycopg and django-tenants."""

from types import SimpleNamespace
from typing import Any

from fleetprompt import versions

WRITTEN_FOR = {"psycopg": ("3.3",), "django-tenants": ("4.0",)}
"""The versions whose private parts this module and `fleetprompt.postgres.tenants.base` use."""

versions.guard(__name__, WRITTEN_FOR)


def note_query(cursor: Any, text: bytes) -> None:
    """Set the text of a cursor's last query, which Django logs; psycopg keeps none of a prepared one."""
    cursor._query = SimpleNamespace(query=text)
