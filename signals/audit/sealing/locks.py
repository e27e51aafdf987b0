"""Locks of the audit log, one per tenant. Nothing that emits signals ever takes one."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

from fleetprompt.postgres.outages import one_session
from fleetprompt.tenants.context import active_schema


def try_sealing() -> bool:
    """Take the right to seal in the active tenant until the transaction ends; False if somebody has it."""
    return _ask("pg_try_advisory_xact_lock", "seal")


def wait_for_sealing() -> None:
    """Take the right to seal in the active tenant until the transaction ends, after whoever has it."""
    _ask("pg_advisory_xact_lock", "seal")


def try_pruning() -> bool:
    """Take the right to prune until the transaction ends; False while somebody reads sealed signals."""
    return _ask("pg_try_advisory_xact_lock", "prune")


@contextmanager
def sealing_all() -> Iterator[bool]:
    """Give whether nobody else goes through the tenants to seal, and keep others from it for a block."""
    is_ours = _ask("pg_try_advisory_lock", "seal all")
    try:
        yield is_ours
    finally:
        # Where the connection broke meanwhile, the lock went with it, and this is a mere warning.
        if is_ours:
            _ask("pg_advisory_unlock", "seal all")


@contextmanager
def reading() -> Iterator[None]:
    """Keep sealed signals from being pruned during a block, which may have many transactions."""
    _ask("pg_advisory_lock_shared", "prune")
    # On another session what is read might be pruned meanwhile, and look as if somebody had deleted it.
    with one_session():
        try:
            yield
        finally:
            _ask("pg_advisory_unlock_shared", "prune")


def _ask(function: str, what: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {function}(hashtext(%s))", [f"fleetprompt.audit.{what}.{active_schema()}"])
        [answer] = cursor.fetchone()
    return answer is not False
