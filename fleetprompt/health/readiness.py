"""Whether this process can do its work now: what `/readyz` answers, within a bounded time."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from django.db import DatabaseError, connections
from redis import RedisError

from directives.queueing import clusters
from fleetprompt.postgres.bounded import Question
from fleetprompt.tenants import schemas
from fleetprompt.tenants.models import Tenant

SECONDS = 3
"""How long the parts have, all together. Probes themselves often give up after a few seconds."""

_REMEMBERED = 30
"""Seconds for which it stays true that everything is migrated: it takes a read of every tenant."""


@dataclass(frozen=True)
class Part:
    """One thing that has to be so; `reason` says why it is not, to anybody who asks."""

    ok: bool
    reason: str = ""


def look() -> dict[str, Part]:
    """Return, by name, whether the database answers, everything is migrated, a cluster and the broker live.

    Whoever asks while another one waits for the answer gets the same.
    """
    found = _question.ask()
    if "database" in found and not found["database"].ok:
        missing = "not known while the database does not answer"
    else:
        missing = f"no answer within {SECONDS} s"
    return {name: found.get(name) or Part(False, missing) for name in _PARTS}


def _ask() -> Iterator[tuple[str, Part]]:
    for name, ask in _PARTS.items():
        part = _answer(name, ask)
        yield name, part
        if name == "database" and not part.ok:
            return


_question = Question("readiness", _ask, seconds=SECONDS)
_migrated_until = 0.0


def _answer(name: str, ask: Callable[[], str]) -> Part:
    try:
        reason = ask()
    except DatabaseError:
        # What it says may name hosts and roles; the log of the database and `doctor` tell more.
        reason = "the database does not answer"
    except (RedisError, OSError):
        reason = "the broker does not answer"
    return Part(not reason, reason)


def _database() -> str:
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT 1")
    return ""


def _migrations() -> str:
    """Return what is wrong with the migrations; in which tenants is nobody else's business.

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
    _migrated_until = time.monotonic() + _REMEMBERED
    return ""


def _cluster() -> str:
    return "" if clusters.clusters() else "no cluster was seen lately"


def _broker() -> str:
    clusters.ping()
    return ""


_PARTS: dict[str, Callable[[], str]] = {
    "database": _database,
    "migrations": _migrations,
    "broker": _broker,
    "cluster": _cluster,
}
