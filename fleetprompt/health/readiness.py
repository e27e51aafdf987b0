"""Readiness of this process, asked within a bounded time: what `/readyz` answers."""

import time
from collections.abc import Callable, Iterator

from django.db import DatabaseError

from fleetprompt.postgres.bounded import Question
from fleetprompt.postgres.queries import execute
from fleetprompt.tenants import schemas
from fleetprompt.tenants.models import Tenant

TIMEOUT_SECONDS = 3
"""For all parts together. Probes themselves often give up after a few seconds."""

_REMEMBER_SECONDS = 30
"""For how long a complete migration is remembered: asking reads every tenant."""


def register(name: str, ask: Callable[[], str]) -> None:
    """Add a condition, asked after those that are there.

    Args:
        ask: returns why it does not hold, for the public, and nothing when it holds. It may raise a
            `DatabaseError`.
    """
    _asked[name] = ask


def look() -> dict[str, str]:
    """Return why conditions do not hold, by name: the database answers, everything is migrated, and others.

    The reason is empty when one holds. Callers at the same time get the same answer.
    """
    found = _question.ask()
    missing = f"no answer within {TIMEOUT_SECONDS} s"
    if found.get("database"):
        missing = "not known while the database does not answer"
    return {name: found.get(name, missing) for name in _asked}


def _ask() -> Iterator[tuple[str, str]]:
    for name, ask in _asked.items():
        try:
            reason = ask()
        except DatabaseError:
            # Its text may name hosts and roles; the log of the database and `doctor` tell more.
            reason = "the database does not answer"
        yield name, reason
        if name == "database" and reason:
            return


_question = Question("readiness", _ask, seconds=TIMEOUT_SECONDS)
_migrated_until = 0.0


def _database() -> str:
    execute("SELECT 1")
    return ""


def _migrations() -> str:
    """Return what is wrong with the migrations, without naming tenants.

    Remembered in this process and not in the shared cache: a process of an older release knows less.
    """
    global _migrated_until
    if time.monotonic() < _migrated_until:
        return ""
    if schemas.missing_in_public() != []:
        return "the public schema lacks migrations"
    names = list(Tenant.objects.values_list("schema_name", flat=True))
    if any(missing != [] for missing in schemas.missing_migrations(names).values()):
        return "tenants lack migrations"
    _migrated_until = time.monotonic() + _REMEMBER_SECONDS
    return ""


_asked: dict[str, Callable[[], str]] = {"database": _database, "migrations": _migrations}
