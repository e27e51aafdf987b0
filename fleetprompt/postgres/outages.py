"""Connections that were lost: how to tell, how to wait for new ones, and when none may take their place."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import InterfaceError, OperationalError
from django.db import connection as _django_connection

from fleetprompt.errors import sqlstate

connection: Any = _django_connection

RECONNECT_SECONDS = 0.1
"""Between two tries to connect to a server that is away."""
_LOST_STATES = ("57P01", "57P02", "57P03", "57P05", "25P03", "25P04")
"""SQLSTATEs with which PostgreSQL ends or refuses a session, beside class 08 (its manual, appendix A)."""


def is_lost(error: object) -> bool:
    """Return whether an exception means that there is no connection any more, or none to be had."""
    if not isinstance(error, OperationalError | InterfaceError):
        return False
    state = sqlstate(error)
    return not state or state.startswith("08") or state in _LOST_STATES


def wait_for_database(seconds: float) -> None:
    """Return when this thread has a connection, after tries for at most `seconds`.

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
    """Keep the thread's connection from being replaced for a block: a lock hangs on its session.

    What needs the database after the connection was lost fails then, as it would in a transaction.
    """
    connection.bound_to_session += 1
    try:
        yield
    finally:
        connection.bound_to_session -= 1
