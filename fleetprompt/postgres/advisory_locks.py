"""Advisory locks by name, which processes on all machines share."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

from fleetprompt.postgres.outages import one_session
from fleetprompt.postgres.queries import fetch_all
from fleetprompt.postgres.sql import LOCK_IN_SESSION, LOCK_IN_TRANSACTION


def lock_in_transaction(name: str) -> None:
    """Wait for a lock and hold it until the current transaction ends."""
    fetch_all(LOCK_IN_TRANSACTION, name)


@contextmanager
def locked_session(name: str) -> Iterator[None]:
    """Hold a lock for a block, which may have several transactions; the connection is closed after it.

    Raises:
        OperationalError: the session ends inside the block, and the lock with it.
    """
    fetch_all(LOCK_IN_SESSION, name)
    try:
        with one_session():
            yield
    finally:
        # The end of the session releases the lock, also after an error of the connection.
        connection.close()
