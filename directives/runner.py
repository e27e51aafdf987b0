"""Claims what is due in the active tenant and executes it. The table is the truth; queues only wake."""

import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import NamedTuple
from uuid import UUID, uuid4

from django.conf import settings
from django.db import DatabaseError, Error, connection, transaction
from django.db.models import BooleanField, ExpressionWrapper, Q
from django.utils import timezone

from directives import operations
from directives.errors import DirectiveNotFound, IllegalTransition
from directives.executing import batch_size, failures, grouped, single
from directives.lifecycle import events, transitions
from directives.models import Directive
from directives.monitoring import telemetry
from directives.outcomes import Kind, Outcome
from directives.queueing import adapter
from fleetprompt.postgres import outages
from fleetprompt.postgres.idle_in_transaction import limit_idle_in_transaction
from fleetprompt.telemetry import errors
from fleetprompt.tenants.context import active_tenant, restore
from fleetprompt.tenants.models import Tenant
from signals.types import Actor

logger = logging.getLogger(__name__)

SPARE = 100
"""How many directives that cannot even be set aside a claim passes over."""
GATHER = 0.01
"""Seconds that what comes during a turn waits for more of its kind: a claim for each would cost more."""


class Claim(NamedTuple):
    """What one claim took: directives to execute, and outcomes of those it gave up on."""

    directives: list[Directive]
    exhausted: list[Outcome]


def run(
    directive_id: UUID | str,
    rerun: bool = False,
    *,
    actor: Actor = single.RUNNER,
    reason: str = "rerun by the runner",
) -> Outcome:
    """Run one directive of the active tenant now, in this process.

    Args:
        directive_id: the directive.
        rerun: run it again when it has ended already.
        actor: who reruns it; users need the permission to.
        reason: why it is rerun.

    Returns:
        succeeded, failed, retry scheduled, snoozed (it is not due yet), or discarded: there is no
        such directive, it runs already, it waits for an earlier one on its subject, or it has ended
        and `rerun` is False.

    Raises:
        NoActiveTenant: called outside `in_tenant`.
        PermissionRefused: the user may not rerun.
        RuntimeError: called inside a transaction, which could undo what a directive did.
    """
    tenant = active_tenant()
    directive_id = operations.parse_id(directive_id)
    if rerun:
        tenant.status = transitions.tenant_status()
        if tenant.status == Tenant.Status.ACTIVE and (refusal := _rerun(directive_id, actor, reason)):
            return refusal
    with _released_when_lost() as token:
        claim = _claim(tenant, 1, only=directive_id, token=token)
        if not any(claim):
            return _why_not(directive_id, tenant)
        [outcome] = claim.exhausted or _work_through(claim.directives, tenant)
    # It may have held back others on its subject.
    _wake_for_the_rest(tenant)
    return outcome


def run_due(limit: int | None = None) -> list[Outcome]:
    """Run everything that is due in the active tenant, in this process, until nothing is left.

    Args:
        limit: how many directives to run at most; all by default.

    Returns:
        one outcome per attempt, in the order of execution.

    Raises:
        NoActiveTenant: called outside `in_tenant`.
        RuntimeError: called inside a transaction.
    """
    return list(iterate_due(limit))


def iterate_due(limit: int | None = None) -> Iterator[Outcome]:
    """Run what is due in the active tenant and give each outcome as it comes; see `run_due`."""
    tenant = active_tenant()
    left = sys.maxsize if limit is None else limit
    while left > 0:
        with _released_when_lost() as token:
            claim = _claim(tenant, min(left, settings.DIRECTIVES_CLAIM_LIMIT), token=token)
            if not any(claim):
                return
            left -= len(claim.directives)
            yield from claim.exhausted
            yield from _work_through(claim.directives, tenant)
    _wake_for_the_rest(tenant)


def run_time_slice(*, patience: float = 0.0) -> int:
    """Do a worker's turn in the active tenant: batches of due directives, for a bounded time.

    The first full batch sends the next wake-up at once, so that other workers join in. The worker looks
    again after each batch: what waited behind its directives, or came meanwhile, is not left to the
    sweep. What came just now is given `GATHER` seconds to become more. When the turn's time is over, a
    wake-up stands for what is left, behind the other tenants'.

    Args:
        patience: for how many seconds to wait for a new connection when the connection is lost, to release
            what it has claimed.

    Returns:
        how many attempts were executed.
    """
    with _released_when_lost(patience) as token:
        return _run_time_slice(active_tenant(), token)


def _run_time_slice(tenant: Tenant, token: UUID) -> int:
    executed, joined = 0, False
    ends = time.monotonic() + settings.DIRECTIVES_TIME_SLICE_SECONDS
    while True:
        began, size = time.monotonic(), batch_size.batch()
        claim = _claim(tenant, size, token=token)
        if not any(claim):
            break
        full = len(claim.directives) >= size
        if full and not joined:
            adapter.wake(tenant)
            joined = True
        executed += sum(1 for _ in _work_through(claim.directives, tenant))
        took = time.monotonic() - began
        batch_size.worked_through(len(claim.directives), took)
        # After a full batch there is more, as a rule.
        waited = GATHER if full else transitions.longest_wait()
        if waited is None:
            break
        pause = max(GATHER - waited, 0)
        # Another claim like this one would end closer to two turns' time than to one's.
        if time.monotonic() + pause + took / 2 > ends:
            # Who joined in may have left again.
            adapter.wake(tenant) if full else _wake_for_the_rest(tenant)
            break
        time.sleep(pause)
    return executed


def _wake_for_the_rest(tenant: Tenant) -> None:
    if transitions.due().exists():
        adapter.wake(tenant)


def _rerun(directive_id: UUID, actor: Actor, reason: str) -> Outcome | None:
    status = Directive.objects.filter(pk=directive_id).values_list("status", flat=True).first()
    if status not in Directive.TERMINAL:
        return None
    try:
        # Durable, so that inside a transaction the rerun is refused together with the run.
        with transaction.atomic(durable=True):
            operations.rerun(directive_id, actor=actor, reason=reason)
    except (DirectiveNotFound, IllegalTransition) as error:
        return Outcome(Kind.DISCARDED, directive_id, str(error))
    return None


@contextmanager
def _released_when_lost(patience: float = 0.0) -> Iterator[UUID]:
    """Give a token for claims. What still runs under it when the connection is lost is released at once.

    That is a claim whose answer was lost, too, and what could not be recorded as failed.
    """
    token = uuid4()
    try:
        yield token
    except Error as error:
        if outages.is_lost(error):
            # Without a connection the leases have to run out.
            with suppress(Error):
                outages.wait_for_database(patience)
                transitions.release(token)
        raise


def _claim(tenant: Tenant, limit: int, *, only: UUID | None = None, token: UUID) -> Claim:
    restore(tenant)
    # A transaction around it is refused there, where Django knows a test's from others.
    directives = _claim_quickly(tenant, limit, only, token) if connection.get_autocommit() else None
    if directives is None:
        return _claim_carefully(tenant, limit, only, token)
    tenant.status = Tenant.Status.ACTIVE
    telemetry.claimed(directives)
    return Claim(directives, [])


def _claim_quickly(tenant: Tenant, limit: int, only: UUID | None, token: UUID) -> list[Directive] | None:
    """Claim in one message, unless something is out of the ordinary."""
    lease = settings.DIRECTIVES_LEASE_SECONDS
    try:
        return transitions.claim_at_once(
            limit, lease=lease, only=only, token=token, worker=_worker(), tenant=tenant.slug
        )
    except DatabaseError as error:
        if failures.is_transient(error):
            raise
        # It may be the signals that cannot be written. Being prepared for that costs a savepoint.
        logger.info("a claim has to be made again, carefully: %s", errors.brief(error))
        return None


def _claim_carefully(tenant: Tenant, limit: int, only: UUID | None, token: UUID) -> Claim:
    """Take silent directives over, store what signals can be stored, set aside what is in the way.

    In a tenant that is not active any more nothing is claimed, and its status is brought up to date.
    """
    with transaction.atomic(durable=True):
        limit_idle_in_transaction(settings.DIRECTIVES_LEASE_SECONDS)
        transitions.lock_claims()
        tenant.status = transitions.tenant_status()
        if tenant.status != Tenant.Status.ACTIVE:
            return Claim([], [])
        rescued = _rescue(tenant, limit, only, token)
        claimed = _claim_due(tenant, limit - len(rescued.directives), only, token)
    # What was silent comes last: it may be what killed its worker.
    return Claim(claimed.directives + rescued.directives, rescued.exhausted + claimed.exhausted)


def _claim_due(tenant: Tenant, limit: int, only: UUID | None, token: UUID) -> Claim:
    def start(ids: Sequence[UUID]) -> Claim:
        one = ids[0] if len(ids) == 1 else None
        directives = transitions.claim(
            len(ids), lease=settings.DIRECTIVES_LEASE_SECONDS, only=one, token=token
        )
        _say_started(directives, tenant)
        telemetry.claimed(directives)
        return Claim(directives, [])

    due = transitions.due().filter(pk=only) if only else transitions.due()
    return _each(list(due.values_list("pk", flat=True)[: limit + SPARE]), limit, start, tenant)


def _rescue(tenant: Tenant, limit: int, only: UUID | None, token: UUID) -> Claim:
    """Give up on silent directives that have used up their attempts; claim the others.

    Those that had begun come last: one of them may be what killed their worker, and what is claimed
    with it should be done by then.
    """
    silent = transitions.silent().filter(pk=only) if only else transitions.silent()
    has_begun = ExpressionWrapper(Q(started_at__isnull=False), BooleanField())
    found = list(silent.values_list("pk", has_begun)[: limit + SPARE])
    found = sorted(found[:limit], key=lambda row: row[1]) + found[limit:]
    return _each([pk for pk, _ in found], limit, partial(_rescue_together, tenant, token), tenant)


def _rescue_together(tenant: Tenant, token: UUID, ids: Sequence[UUID]) -> Claim:
    found = list(transitions.silent().filter(pk__in=ids).select_for_update(skip_locked=True))
    found.sort(key=lambda directive: directive.started_at is not None)
    events.write_for(
        found,
        [
            events.fact(
                directive,
                "directive.recovered",
                {"began": directive.started_at is not None},
                tenant=tenant.slug,
            )
            for directive in found
        ],
    )
    outcomes, recovered = [], []
    for directive in found:
        if directive.started_at is not None and directive.attempt >= directive.max_attempts:
            text = f"LeaseExpired: attempt {directive.attempt} fell silent, and it was the last one"
            outcomes.append(single.fail(directive, tenant, text))
        else:
            recovered.append(directive)
    telemetry.fell_silent(found, outcomes)
    if recovered:
        transitions.take_over(recovered, lease=settings.DIRECTIVES_LEASE_SECONDS, token=token)
        _say_started(recovered, tenant)
    return Claim(recovered, outcomes)


def _say_started(directives: Sequence[Directive], tenant: Tenant) -> None:
    started = [
        events.fact(directive, "directive.started", {"worker": _worker()}, tenant=tenant.slug)
        for directive in directives
    ]
    events.write_for(directives, started)


def _each(
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
        if not failures.may_be_of_one(error):
            raise
        if len(ids) == 1:
            outcome = single.set_aside(ids[0], tenant, error)
            return Claim([], [outcome] if outcome.kind == Kind.FAILED else [])
    result = Claim([], [])
    for one in ids:
        if len(result.directives) == limit:
            break
        handled = _each([one], 1, handle, tenant)
        result.directives.extend(handled.directives)
        result.exhausted.extend(handled.exhausted)
    return result


def _work_through(directives: Sequence[Directive], tenant: Tenant) -> Iterator[Outcome]:
    waiting, alone = list(directives), set[UUID]()
    ours_until = time.monotonic() + settings.DIRECTIVES_LEASE_SECONDS
    while waiting:
        restore(tenant)
        ours_until = _keep(waiting, ours_until)
        group = [] if waiting[0].pk in alone else grouped.leading(waiting)
        if group:
            outcomes, refused = grouped.execute(group, tenant)
            alone |= refused
        else:
            outcomes = [_execute_alone(waiting[0], tenant)]
        yield from outcomes
        done = {outcome.directive_id for outcome in outcomes}
        waiting = [directive for directive in waiting if directive.pk not in done]


def _keep(waiting: Sequence[Directive], ours_until: float) -> float:
    """Renew the leases of what waits in the batch when they may run out during the next execution."""
    lease, timeout = settings.DIRECTIVES_LEASE_SECONDS, max(map(single.timeout_of, waiting))
    if ours_until >= time.monotonic() + timeout + lease / 3:
        return ours_until
    transitions.renew(waiting, lease=timeout + lease)
    return time.monotonic() + timeout + lease


def _execute_alone(directive: Directive, tenant: Tenant) -> Outcome:
    try:
        with telemetry.attempting(directive, tenant.slug) as attempt:
            outcome = single.execute(directive, tenant)
            attempt.ended(outcome.kind)
    except Exception as error:
        if not failures.may_be_of_one(error):
            raise
        single.recover(tenant)
        outcome = single.set_aside(directive.pk, tenant, error, attempt=directive.attempt)
    return outcome


def _why_not(directive_id: UUID, tenant: Tenant) -> Outcome:
    if tenant.status != Tenant.Status.ACTIVE:
        return Outcome(Kind.DISCARDED, directive_id, f"tenant {tenant.slug} is {tenant.status}")
    directive = Directive.objects.filter(pk=directive_id).first()
    if directive is None:
        return Outcome(Kind.DISCARDED, directive_id, "not found in this tenant")
    if directive.status == Directive.Status.RUNNING:
        reason = f"already running, attempt {directive.attempt}"
    elif directive.status in Directive.TERMINAL:
        reason = f"already {directive.status}; rerun it to run it again"
    elif directive.scheduled_at > timezone.now():
        when = directive.scheduled_at.isoformat(timespec="seconds")
        return Outcome(Kind.SNOOZED, directive_id, f"not due before {when}")
    else:
        ahead = transitions.ahead_in_line(lambda name: getattr(directive, name)).first()
        reason = f"waits for {ahead} on the same subject" if ahead else "claimed by another worker"
    return Outcome(Kind.DISCARDED, directive_id, reason)


def _worker() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"
