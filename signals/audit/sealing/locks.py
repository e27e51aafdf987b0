"""Advisory locks of the audit log, one set per tenant. Emitters of signals take none of them."""

from collections.abc import Iterator
from contextlib import contextmanager

from fleetprompt.postgres.outages import one_session
from fleetprompt.postgres.queries import fetch_all
from fleetprompt.tenants.context import active_schema
from signals import sql


def try_sealing() -> bool:
    """Take the right to seal in the active tenant until the transaction ends; False if it is taken."""
    return _ask("pg_try_advisory_xact_lock", "seal")


def wait_for_sealing() -> None:
    """Take the right to seal in the active tenant until the transaction ends, when it is free."""
    _ask("pg_advisory_xact_lock", "seal")


def try_pruning() -> bool:
    """Take the right to prune until the transaction ends; False while `reading` is in use."""
    return _ask("pg_try_advisory_xact_lock", "prune")


@contextmanager
def sealing_all() -> Iterator[bool]:
    """Take the right to seal all tenants for a block; yield whether it was free."""
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
    # On another session the signals might be pruned meanwhile, and look like deleted ones.
    with one_session():
        try:
            yield
        finally:
            _ask("pg_advisory_unlock_shared", "prune")


def _ask(function: str, right: str) -> bool:
    name = f"fleetprompt.audit.{right}.{active_schema()}"
    [[answer]] = fetch_all(sql.LOCK.format(function=function), name)
    return answer is not False
