"""Whether this process can do its work now: what `/readyz` answers, within a bounded time."""

import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from django.db import DatabaseError, connections
from redis import RedisError

from directives import queue
from fleetprompt.tenants import schemas
from fleetprompt.tenants.models import Tenant

SECONDS = 3
"""How long the parts have, all together. Probes themselves often give up after a few seconds."""

_REMEMBERED = 30
"""Seconds for which it stays true that everything is migrated: it takes a read of every tenant.

For as long nobody else is sent after one who does not come back.
"""
# libpq takes no less than two seconds.
_CONNECT_SECONDS = 2


@dataclass(frozen=True)
class Part:
    """One thing that has to be so; `reason` says why it is not, to anybody who asks."""

    ok: bool
    reason: str = ""


def look() -> dict[str, Part]:
    """Return, by name, whether the database answers, everything is migrated, a cluster and the broker live.

    Whoever asks while another one waits for the answer gets the same.
    """
    global _current
    with _lock:
        if _current is None or _current.is_over():
            _current = _Look()
            _current.start()
        current = _current
    current.wait()
    return current.parts()


class _Look(threading.Thread):
    """Asks for one part after the other, on a connection of its own; others wait no longer than allowed.

    PostgreSQL's client waits for a server that fell silent without any limit, so somebody else has to.
    """

    def __init__(self) -> None:
        super().__init__(name="readiness", daemon=True)
        self._found: dict[str, Part] = {}
        self._ends = time.monotonic() + SECONDS
        self._connection: Any = None

    def run(self) -> None:
        """Ask, until something does not answer."""
        try:
            self._connect()
            for name, ask in _PARTS.items():
                self._found[name] = _answer(name, ask)
                if name == "database" and not self._found[name].ok:
                    break
        finally:
            connections.close_all()

    def is_over(self) -> bool:
        """Return whether it has ended, or is to be left alone: a broker may keep it waiting for long."""
        return not self.is_alive() or time.monotonic() > self._ends + _REMEMBERED

    def wait(self) -> None:
        """Wait for the end, or until the time is over; then end what is still waiting."""
        self.join(max(self._ends - time.monotonic(), 0))
        if self.is_alive():
            self._hang_up()

    def parts(self) -> dict[str, Part]:
        """Return what is known of each part."""
        found = dict(self._found)
        if "database" in found and not found["database"].ok:
            missing = "not known while the database does not answer"
        else:
            missing = f"no answer within {SECONDS} s"
        return {name: found.get(name) or Part(False, missing) for name in _PARTS}

    def _connect(self) -> None:
        own = connections.create_connection("default")
        options = {"connect_timeout": _CONNECT_SECONDS, **own.settings_dict.get("OPTIONS", {})}
        own.settings_dict = {**own.settings_dict, "OPTIONS": options}
        connections["default"] = self._connection = own

    def _hang_up(self) -> None:
        """Close the socket below the connection, so that the thread that waits at it goes on."""
        # It may have come to its end, or not to its beginning, in this very moment.
        with (
            suppress(AttributeError, OSError, psycopg.Error),
            socket.socket(fileno=os.dup(self._connection.connection.fileno())) as line,
        ):
            line.shutdown(socket.SHUT_RDWR)


_current: _Look | None = None
_lock = threading.Lock()
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
    return "" if queue.clusters() else "no cluster was seen lately"


def _broker() -> str:
    queue.ping()
    return ""


_PARTS: dict[str, Callable[[], str]] = {
    "database": _database,
    "migrations": _migrations,
    "broker": _broker,
    "cluster": _cluster,
}
