"""The database's owner: the role that makes and changes tables. Requests and workers never use it;
migrations use it for a block.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fleetprompt.errors import Refused
from fleetprompt.postgres.direct import connection
from fleetprompt.postgres.queries import fetch_all

_CREATE_SCHEMA_RIGHT = "SELECT has_database_privilege(current_database(), 'CREATE')"


@contextmanager
def as_owner() -> Iterator[None]:
    """Connect this thread as the owner for a block, and as the application again after it.

    The active schema stays. An inner block changes nothing. Where the settings name no owner, one role is
    both, and only the rule about transactions applies.

    Raises:
        RuntimeError: a transaction is open, which cannot continue under another role.
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
    # Not changed in place: all threads connect with this dictionary.
    connection.settings_dict = login()
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict = shared


def login() -> dict[str, Any]:
    """Return Django's connection settings for the owner.

    `APPLICATION` in them is the application's role, or None where one role is both.
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
    """Return whether this process can make schemas: it knows the owner, or its own role may."""
    return bool(connection.settings_dict.get("OWNER")) or fetch_all(_CREATE_SCHEMA_RIGHT) == [(True,)]


def application() -> str | None:
    """Return the application's role; None where owner and application are one role."""
    role: str | None = login()["APPLICATION"]
    return role
