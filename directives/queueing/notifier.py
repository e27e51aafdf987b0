"""The bell that tells clusters of a new message at once, by PostgreSQL's NOTIFY.

It may be missed, for ever behind some poolers: clusters also look by themselves, a moment later.
"""

import threading
import time
from contextlib import suppress
from typing import Any

from django.db import Error, transaction
from django.db import connection as _django_connection

from fleetprompt.postgres.direct import execute

connection: Any = _django_connection

PAUSE = 0.005
"""Seconds after a bell for which the same thread does not ring, so that who asks for much rings seldom."""
AGAIN = 2 * PAUSE
"""Seconds after a bell when its hearers look once more, for what came without one."""

# Not in the transaction that stores the message: PostgreSQL lets those that notify commit one at a time,
# and each would keep the others waiting for the disk. Its own is nothing to wait for.
_RING = "SELECT set_config('synchronous_commit', 'off', true), pg_notify(%s, '')"


def notify_on_commit(cluster: str) -> None:
    """Ring for the clusters of that name when the transaction commits: once, however often this is called.

    Outside a transaction it rings at once. It does not ring again within `PAUSE`, as who heard the last
    one looks again after `AGAIN`. A bell that fails is nothing to complain of.
    """
    if not connection.in_atomic_block and not connection.get_autocommit():
        # Nobody would tell when such a transaction commits.
        return
    if _here.bell.rung:
        _here.bell = _Bell()
    bell = _here.bell
    transaction.on_commit(lambda: bell.ring(cluster), robust=True)


class _Bell:
    """Rings once. One that was dropped by a rollback is left for the next transaction."""

    def __init__(self) -> None:
        self.rung = False

    def ring(self, cluster: str) -> None:
        if self.rung:
            return
        self.rung = True
        now = time.monotonic()
        if now < _here.silent_until.get(cluster, 0.0):
            return
        _here.silent_until[cluster] = now + PAUSE
        with suppress(Error):
            execute(_RING, [_channel(cluster)])


class _Here(threading.local):
    """The bell of this thread's current transaction, as connections are a thread's own, too."""

    def __init__(self) -> None:
        self.bell = _Bell()
        self.silent_until: dict[str, float] = {}


_here = _Here()


class Listener:
    """Hears the bell on this thread's connection."""

    def __init__(self, cluster: str) -> None:
        self._channel = _channel(cluster)
        self._session: Any = None

    def listen(self) -> bool:
        """Make sure that the bell is heard from now on; return whether it was not before.

        Raises:
            DatabaseError: the database does not answer.
        """
        if (
            self._session is not None
            and self._session is connection.connection
            and not self._session.closed
        ):
            return False
        execute(f"LISTEN {connection.ops.quote_name(self._channel)}")
        self._session = connection.connection
        return True

    def wait(self, seconds: float) -> bool:
        """Wait for the bell; return whether it rang within `seconds`, or since it was waited for last.

        Raises:
            DatabaseError: the connection broke.
        """
        with connection.wrap_database_errors:
            return bool(list(self._session.notifies(timeout=seconds, stop_after=1)))


def _channel(cluster: str) -> str:
    return f"directives.{cluster}"
