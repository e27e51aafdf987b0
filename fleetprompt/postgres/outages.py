"""Database errors that may pass: transient ones, lost connections, and the wait for a new connection."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DatabaseError, InterfaceError, OperationalError

from fleetprompt.errors import sqlstate
from fleetprompt.postgres.direct import connection

RECONNECT_SECONDS = 0.1
"""Between two attempts to connect to a server that does not answer."""
_LOST_STATES = ("57P01", "57P02", "57P03", "57P05", "25P03", "25P04")
"""SQLSTATEs of ended and refused sessions, besides class 08 (PostgreSQL's manual, appendix A)."""
_TRANSIENT_CLASSES = ("08", "40", "53", "57")  # connection, rollback, resources, intervention
# Lock not available, session ended by a time-out, a server that is a standby until it is promoted.
_TRANSIENT_STATES = ("55P03", "25P03", "25P04", "25006")


def is_transient(error: object) -> bool:
    """Return whether an exception is a database's error that may not come again.

    True for PostgreSQL's deadlocks, serialization failures, time-outs, shutdowns and lost connections.
    """
    if isinstance(error, InterfaceError):
        return True
    if not isinstance(error, DatabaseError):
        return False
    state = sqlstate(error)
    if not state:
        return isinstance(error, OperationalError)
    return state.startswith(_TRANSIENT_CLASSES) or state in _TRANSIENT_STATES


def is_lost(error: object) -> bool:
    """Return whether an exception means that the connection was lost, or that none can be made."""
    if not isinstance(error, OperationalError | InterfaceError):
        return False
    state = sqlstate(error)
    return not state or state.startswith("08") or state in _LOST_STATES


def wait_for_database(seconds: float) -> None:
    """Return when this thread has a connection; try for at most `seconds`.

    Raises:
        OperationalError: the database does not answer in that time.
    """
    until = time.monotonic() + seconds
    while True:
        try:
            connection.close_if_health_check_failed()
            connection.ensure_connection()
            return
        except OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(RECONNECT_SECONDS)


@contextmanager
def one_session() -> Iterator[None]:
    """Keep the thread's connection from being replaced for a block, because a lock belongs to its session.

    After a loss of the connection statements fail, as they would in a transaction.
    """
    connection.bound_to_session += 1
    try:
        yield
    finally:
        connection.bound_to_session -= 1
