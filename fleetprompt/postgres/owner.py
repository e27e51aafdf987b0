"""The second database role: who owns the tables, makes them and may change them. Requests and workers
never are it; what migrates becomes it for a block.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection as _django_connection

from fleetprompt.errors import Refused

connection: Any = _django_connection


@contextmanager
def as_owner() -> Iterator[None]:
    """Connect this thread as the owner for a block, and as the application again after it.

    The active schema stays. A block inside a block changes nothing. Where the settings name no owner,
    one role is everything, and only the rule about transactions is kept.

    Raises:
        RuntimeError: a transaction is open, which cannot go on under another role.
        Refused: this process does not know the owner, and its own role cannot make schemas.
    """
    shared = connection.settings_dict
    if "APPLICATION" in shared:
        yield
        return
    if connection.in_atomic_block:
        raise RuntimeError("as_owner() cannot be entered inside a transaction")
    if not can_migrate():
        raise Refused(
            "DATABASE_OWNER_URL: expected the login of the database's owner, because the role "
            f"{shared['USER']!r} cannot make schemas"
        )
    connection.close()
    # Not changed in place: the dictionary is the one that every thread connects by.
    connection.settings_dict = login()
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict = shared


def login() -> dict[str, Any]:
    """Return Django's connection settings for the owner; `APPLICATION` names the application's role in
    them, or is None where one role is everything.
    """
    shared: dict[str, Any] = connection.settings_dict
    if "APPLICATION" in shared:
        return shared
    owner = shared.get("OWNER") or {}
    return {
        **shared,
        **owner,
        "OPTIONS": {**shared["OPTIONS"], **owner.get("OPTIONS", {})},
        "APPLICATION": shared["USER"] if owner else None,
    }


def can_migrate() -> bool:
    """Return whether this process can make schemas: it knows the owner, or its one role is everything."""
    if connection.settings_dict.get("OWNER"):
        return True
    with connection.cursor() as cursor:
        cursor.execute("SELECT has_database_privilege(current_database(), 'CREATE')")
        return bool(cursor.fetchone()[0])


def application() -> str | None:
    """Return the application's role, told apart from the owner's; None where one role is everything."""
    settings = connection.settings_dict
    if "APPLICATION" in settings:
        return settings["APPLICATION"] or None
    return settings["USER"] if settings.get("OWNER") else None
