"""Notifications between sessions by PostgreSQL's LISTEN and NOTIFY: on commit, and waited for.

One may be lost, and behind some poolers all are, so listeners also have to look by themselves.
"""

import threading
import time
from contextlib import suppress
from typing import Any

from django.db import Error, transaction

from fleetprompt.postgres.direct import connection, execute

INTERVAL_SECONDS = 0.005
"""Seconds after a notification in which the same thread sends no other one on that channel."""
RELOOK_SECONDS = 2 * INTERVAL_SECONDS
"""Seconds after a notification when listeners look once more, for what came within that interval."""

# Not in the transaction that commits: PostgreSQL lets those that notify commit one at a time, and each
# would keep the others waiting for the disk. This one does not wait for the disk.
_NOTIFY = "SELECT set_config('synchronous_commit', 'off', true), pg_notify(%s, '')"


def notify_on_commit(channel: str) -> None:
    """Notify a channel when the transaction commits: once as a rule, however often this is called.

    Outside a transaction it notifies at once. Within `INTERVAL_SECONDS` after a notification it sends none,
    since listeners look again after `RELOOK_SECONDS`. A failed notification is ignored.
    """
    # Django does not tell when a transaction without autocommit commits.
    if connection.in_atomic_block or connection.get_autocommit():
        transaction.on_commit(lambda: _notify(channel), robust=True)


def _notify(channel: str) -> None:
    if time.monotonic() < _thread.silent_until.get(channel, 0.0):
        return
    with suppress(Error):
        execute(_NOTIFY, [channel])
    _thread.silent_until[channel] = time.monotonic() + INTERVAL_SECONDS


class _Thread(threading.local):
    """Until when this thread sends no notification, by channel."""

    def __init__(self) -> None:
        self.silent_until: dict[str, float] = {}


_thread = _Thread()


class Listener:
    """Receives the notifications of a channel on this thread's connection."""

    def __init__(self, channel: str) -> None:
        self._channel = channel
        self._session: Any = None

    def listen(self) -> bool:
        """Make sure that the session listens; return whether it did not before.

        Raises:
            DatabaseError: the database does not answer.
        """
        is_current = self._session is not None and self._session is connection.connection
        if is_current and not self._session.closed:
            return False
        execute(f"LISTEN {connection.ops.quote_name(self._channel)}")
        self._session = connection.connection
        return True

    def wait(self, seconds: float) -> bool:
        """Return whether a notification came since the last call, or comes within `seconds`.

        Raises:
            DatabaseError: the connection broke.
        """
        with connection.wrap_database_errors:
            return bool(list(self._session.notifies(timeout=seconds, stop_after=1)))
