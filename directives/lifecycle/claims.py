"""Claims due directives for a worker: quickly in one message, or carefully when something is in the way."""

import logging
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple
from uuid import UUID, uuid4

from django.conf import settings
from django.db import DatabaseError, Error, connection, transaction
from django.db.models import BooleanField, ExpressionWrapper, Q

from directives.lifecycle import failures, queries, transitions
from directives.models import Directive
from directives.outcomes import Kind, Outcome
from directives.queueing import adapter
from fleetprompt.postgres import outages
from fleetprompt.postgres.idle_in_transaction import limit_idle_in_transaction
from fleetprompt.telemetry import errors, work
from fleetprompt.tenants.context import restore
from fleetprompt.tenants.models import Tenant
from signals.types import Personal

logger = logging.getLogger(__name__)


SPARE_ROWS = 100
"""How many directives that cannot even be set aside a claim passes over."""


class Claim(NamedTuple):
    """What one claim took: directives to execute, and outcomes of those it gave up on."""

    directives: list[Directive]
    exhausted: list[Outcome]


@contextmanager
def released_when_lost(wait_seconds: float = 0.0) -> Iterator[UUID]:
    """Give a token for claims. What still runs under it when the connection is lost is released at once.

    That includes a claim whose answer was lost, and an attempt that could not be recorded as failed. It
    needs a new connection, for which this waits for at most `wait_seconds`.
    """
    token = uuid4()
    try:
        yield token
    except Error as error:
        if outages.is_lost(error):
            # Without a connection the leases have to expire.
            with suppress(Error):
                outages.wait_for_database(wait_seconds)
                transitions.release(token)
        raise


def claim(tenant: Tenant, limit: int, *, only: UUID | None = None, token: UUID) -> Claim:
    """Claim up to `limit` due directives of the active tenant.

    Args:
        only: the one to claim, if it is due.
        token: what `released_when_lost` gave.

    Raises:
        RuntimeError: called inside a transaction.
    """
    restore(tenant)
    # The careful claim refuses a transaction around it: Django knows a test's own from others there.
    directives = _claim_quickly(tenant, limit, only, token) if connection.get_autocommit() else None
    if directives is None:
        return _claim_carefully(tenant, limit, only, token)
    tenant.status = Tenant.Status.ACTIVE
    work.claimed(directives)
    return Claim(directives, [])


def _claim_quickly(tenant: Tenant, limit: int, only: UUID | None, token: UUID) -> list[Directive] | None:
    """Claim in one message, unless something is out of the ordinary.

    This second way to claim exists for its speed: the time from a wake-up to the effect fell from 12.7 to
    10.1 ms for five directives in a tenant that the session had not seen, and from 8.7 to 7.2 ms on an idle
    system (docs/explanation/performance-trials.md).
    """
    lease = settings.DIRECTIVES_LEASE_SECONDS
    try:
        return transitions.claim_at_once(
            limit, lease=lease, only=only, token=token, worker=_worker(), tenant=tenant.slug
        )
    except DatabaseError as error:
        if failures.is_transient(error):
            raise
        # It may be the signals that cannot be stored. Being prepared for that costs a savepoint.
        logger.info("a claim has to be made again, carefully: %s", errors.brief(error))
        return None


def _claim_carefully(tenant: Tenant, limit: int, only: UUID | None, token: UUID) -> Claim:
    """Take stalled directives over, store what signals can be stored, set aside what is in the way.

    In a tenant that is not active any more nothing is claimed, and its status is brought up to date.
    """
    with transaction.atomic(durable=True):
        limit_idle_in_transaction(settings.DIRECTIVES_LEASE_SECONDS)
        transitions.lock_claims()
        tenant.status = queries.tenant_status()
        if tenant.status != Tenant.Status.ACTIVE:
            return Claim([], [])
        rescued = _rescue(tenant, limit, only, token)
        started = _start(tenant, limit - len(rescued.directives), only, token)
    # What had stalled comes last: it may be what killed its worker.
    return Claim(started.directives + rescued.directives, rescued.exhausted + started.exhausted)


def _start(tenant: Tenant, limit: int, only: UUID | None, token: UUID) -> Claim:
    def start(ids: Sequence[UUID]) -> Claim:
        one = ids[0] if len(ids) == 1 else None
        directives = transitions.claim(
            len(ids), lease=settings.DIRECTIVES_LEASE_SECONDS, only=one, token=token
        )
        transitions.tell(directives, "directive.started", tenant, worker=_worker())
        work.claimed(directives)
        return Claim(directives, [])

    due = queries.due().filter(pk=only) if only else queries.due()
    return _handle_each(list(due.values_list("pk", flat=True)[: limit + SPARE_ROWS]), limit, start, tenant)


def _rescue(tenant: Tenant, limit: int, only: UUID | None, token: UUID) -> Claim:
    """Give up on stalled directives that have used up their attempts; claim the others.

    Those that had begun come last: one of them may be what killed their worker, and what is claimed
    with it should be done by then.
    """

    def rescue(ids: Sequence[UUID]) -> Claim:
        found = list(queries.stalled().filter(pk__in=ids).select_for_update(skip_locked=True, no_key=True))
        waiting = [one for one in found if one.started_at is None]
        begun = [one for one in found if one.started_at is not None]
        transitions.tell(waiting, "directive.recovered", tenant, began=False)
        transitions.tell(begun, "directive.recovered", tenant, began=True)
        ended = [one for one in begun if one.attempt >= one.max_attempts]
        exhausted = [_give_up(one, tenant) for one in ended]
        work.stalled([one.name for one in found], [one.name for one in ended])
        directives = waiting + [one for one in begun if one not in ended]
        transitions.take_over(directives, lease=settings.DIRECTIVES_LEASE_SECONDS, token=token)
        transitions.tell(directives, "directive.started", tenant, worker=_worker())
        return Claim(directives, exhausted)

    stalled = queries.stalled().filter(pk=only) if only else queries.stalled()
    begun = ExpressionWrapper(Q(started_at__isnull=False), BooleanField())
    rows = list(stalled.values_list("pk", begun)[: limit + SPARE_ROWS])
    ordered = sorted(rows[:limit], key=lambda row: row[1]) + rows[limit:]
    return _handle_each([pk for pk, _ in ordered], limit, rescue, tenant)


def _give_up(directive: Directive, tenant: Tenant) -> Outcome:
    text = f"LeaseExpired: the lease of attempt {directive.attempt} expired, and it was the last one"
    transitions.tell([directive], "directive.failed", tenant, error=Personal(text))
    transitions.fail(directive, text)
    return Outcome(Kind.FAILED, directive.id, text)


def _handle_each(
    ids: Sequence[UUID], limit: int, handle: Callable[[Sequence[UUID]], Claim], tenant: Tenant
) -> Claim:
    """Handle up to `limit` directives together; if that fails, each by itself; set aside what fails then.

    Args:
        ids: some more than `limit`, for those that cannot even be set aside.
    """
    if not ids or limit <= 0:
        return Claim([], [])
    try:
        with transaction.atomic():
            return handle(ids[:limit])
    except Exception as error:
        if not failures.concerns_one_row(error):
            raise
        if len(ids) == 1:
            outcome = failures.set_aside(ids[0], tenant, error)
            return Claim([], [outcome] if outcome.kind == Kind.FAILED else [])
    result = Claim([], [])
    for one in ids:
        if len(result.directives) == limit:
            break
        handled = _handle_each([one], 1, handle, tenant)
        result.directives.extend(handled.directives)
        result.exhausted.extend(handled.exhausted)
    return result


def wake_for_the_rest(tenant: Tenant) -> None:
    """Send a wake-up if something is still due in the active tenant."""
    if queries.due().exists():
        adapter.wake(tenant)


def _worker() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"
