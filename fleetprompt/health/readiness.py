"""Readiness of this process, asked within a bounded time: what `/readyz` answers."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from django.db import DatabaseError

from fleetprompt.postgres.bounded import Question
from fleetprompt.postgres.queries import execute
from fleetprompt.tenants import schemas
from fleetprompt.tenants.models import Tenant

TIMEOUT_SECONDS = 3
"""For all parts together. Probes themselves often give up after a few seconds."""

_REMEMBER_SECONDS = 30
"""For how long a complete migration is remembered: asking reads every tenant."""


@dataclass(frozen=True)
class Part:
    """One condition of readiness; `reason` says to the public why it does not hold."""

    ok: bool
    reason: str = ""


def register(name: str, ask: Callable[[], str]) -> None:
    """Add a condition, asked after those that are there.

    Args:
        ask: returns why it does not hold, and nothing when it holds. It may raise a `DatabaseError`.
    """
    _asked[name] = ask


def look() -> dict[str, Part]:
    """Return all parts by name: the database answers, everything is migrated, what apps have registered.

    Callers at the same time get the same answer.
    """
    found = _question.ask()
    if "database" in found and not found["database"].ok:
        missing = "not known while the database does not answer"
    else:
        missing = f"no answer within {TIMEOUT_SECONDS} s"
    return {name: found.get(name) or Part(False, missing) for name in _asked}


def _ask() -> Iterator[tuple[str, Part]]:
    for name, ask in _asked.items():
        try:
            reason = ask()
        except DatabaseError:
            # Its text may name hosts and roles; the log of the database and `doctor` tell more.
            reason = "the database does not answer"
        yield name, Part(not reason, reason)
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
