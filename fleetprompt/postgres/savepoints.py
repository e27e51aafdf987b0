"""One savepoint that moves through a transaction, at half the statements of `transaction.atomic`."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DatabaseError, transaction
from psycopg.pq import TransactionStatus

from fleetprompt.postgres.direct import connection

SAVEPOINT = "SAVEPOINT member"
"""Sets the savepoint, before the first block."""


@contextmanager
def moved_savepoint() -> Iterator[None]:
    """Undo the block when it fails, `on_commit` included; the savepoint moves to where the block begins.

    Raises:
        DatabaseError: the block swallowed an error that left the transaction broken.
    """
    hooks = len(connection.run_on_commit)
    with connection.cursor() as cursor:
        cursor.execute(f"RELEASE {SAVEPOINT}; {SAVEPOINT}")
    try:
        yield
        is_broken = connection.connection.info.transaction_status == TransactionStatus.INERROR
        if connection.get_rollback() or is_broken:
            raise DatabaseError("an error was swallowed that broke the transaction")
    except BaseException:
        transaction.set_rollback(False)
        with connection.cursor() as cursor:
            cursor.execute(f"ROLLBACK TO {SAVEPOINT}")
        del connection.run_on_commit[hooks:]
        raise
