"""Lost connections: their errors, the wait for a new one, and blocks in which none is replaced."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import InterfaceError, OperationalError
from django.db import connection as _django_connection

from fleetprompt.errors import sqlstate

connection: Any = _django_connection

RECONNECT_SECONDS = 0.1
"""Between two attempts to connect to a server that does not answer."""
_LOST_STATES = ("57P01", "57P02", "57P03", "57P05", "25P03", "25P04")
"""SQLSTATEs of ended and refused sessions, besides class 08 (PostgreSQL's manual, appendix A)."""


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
        except OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(RECONNECT_SECONDS)
        else:
            return


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
