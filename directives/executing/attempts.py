"""Executes claimed directives: effects, signals and final status commit together, or nothing does.

Each attempt has a transaction of its own, except that quick first attempts share one. A commit waits for
the disk, which is most of what a quick directive costs: before they shared it, a wave had 61 to 184
directives a second, then 790 (docs/explanation/performance-trials.md). An attempt that does not succeed in
a group has left nothing behind, and is executed again by itself: only there it can fail.
"""

import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby, takewhile
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import transaction

from directives import expiry, registry
from directives.errors import DirectiveError, Retry, StaleAttempt
from directives.executing.hooks import as_handler_error, guard_hooks
from directives.executing.recording import record_failure, record_stale, restore_connection
from directives.executing.retry import RetryPolicy
from directives.handlers import Context, Handler
from directives.lifecycle import failures, transitions
from directives.models import Directive
from directives.outcomes import Kind, Outcome
from directives.registry import AnyHandler
from directives.restricting.values import TIMER
from fleetprompt.postgres import idle_in_transaction as limits
from fleetprompt.postgres.direct import connection
from fleetprompt.postgres.savepoints import SAVEPOINT, moved_savepoint
from fleetprompt.telemetry import errors, tracing, work
from fleetprompt.tenants.context import active_schema, is_whole, restore, return_to
from fleetprompt.tenants.models import Tenant
from fleetprompt.time_limit import TimeLimitExceeded, time_limit
from signals import bus
from signals.models import Signal
from signals.types import json_object

logger = logging.getLogger(__name__)

GROUP_SECONDS = 0.1
"""After this time a group of directives commits, because it holds the locks of all of them."""
QUICK_SECONDS = GROUP_SECONDS / 4
"""A handler whose last execution took no longer may join a group."""
_LOCK_LIMIT = {"lock_timeout": limits.milliseconds(GROUP_SECONDS)}
"""A group holds the locks of all its members: two groups could wait for each other."""
# For names, columns and tables that are not there yet. A rolling deploy takes minutes: 5 attempts are
# spread over about 20.
DEPLOY_RETRY = RetryPolicy(first=30, factor=3, longest=3600)

seconds_by_name: dict[str, float] = {}
"""How long the last execution of each name took; a name is slow until it has been executed once."""


class Performed(NamedTuple):
    """What a handler returned, checked, and its signals, not stored yet; or the error that it returned."""

    result: Mapping[str, Any]
    signals: Sequence[Signal] = ()
    error: Exception | None = None


class _Member(NamedTuple):
    """A directive of a group whose handler has succeeded."""

    directive: Directive
    began: datetime
    attempt: work.Attempt
    performed: Performed


def execute(directives: Sequence[Directive], tenant: Tenant) -> Iterator[Outcome]:
    """Execute claimed directives in the active tenant, in their order.

    Args:
        directives: as `claims.claim` returned them; their `attempt` fences every write.

    Returns:
        for each, as it comes: succeeded, failed, retry scheduled, or discarded when another attempt took
        the directive over.
    """
    waiting, alone = list(directives), set[UUID]()
    ours_until = time.monotonic() + settings.DIRECTIVES_LEASE_SECONDS
    while waiting:
        restore(tenant)
        ours_until = _keep_leases(waiting, ours_until)
        group = [] if waiting[0].pk in alone else list(takewhile(_may_share, waiting))
        if group:
            outcomes, failed = _execute_together(group, tenant)
            alone |= failed
        else:
            outcomes = [_execute_alone(waiting[0], tenant)]
        yield from outcomes
        done = {outcome.directive_id for outcome in outcomes}
        waiting = [directive for directive in waiting if directive.pk not in done]


def perform(directives: Sequence[Directive], handler: AnyHandler, tenant: Tenant) -> list[Performed]:
    """Have the handler make its changes within its time limit, in the caller's transaction.

    The caller has bounded the session (`limit_session`). One directive goes to `execute`. Several go to
    `execute_many`, which takes 0.44 ms of processor time for each instead of 1.05, PostgreSQL's included
    (docs/explanation/scaling.md).

    Returns:
        one for each directive, in their order.

    Raises:
        DirectiveError: it can never work, or what the handler returned is no result.
        Retry, TimeLimitExceeded, Exception: whatever else went wrong.
    """
    hooks, is_one = len(connection.run_on_commit), len(directives) == 1
    timers = [
        one
        for one in directives
        if (one.actor_type, one.actor_id) == (TIMER.type, TIMER.id) and one.personal is not None
    ]
    with time_limit(handler.timeout, as_handler_error):
        superseded = expiry.superseded(timers) if timers else {}
        given = [
            (Context(one, tenant.slug), _payload(one, handler))
            for one in directives
            if one.pk not in superseded
        ]
        returned = _execute(given, handler) if given else []
        # Reading the results may run the handler's code, too.
        performed = {
            context.directive.pk: Performed({}, error=one)
            if isinstance(one, Exception) and not is_one
            else _check(one, context, handler, tenant)
            for (context, _), one in zip(given, returned, strict=True)
        }
        for one in timers:
            if one.pk in superseded:
                performed[one.pk] = _check(superseded[one.pk], Context(one, tenant.slug), handler, tenant)
    if not is_whole(tenant):
        raise DirectiveError(f"the handler left its tenant: {active_schema()} is active")
    if len(connection.run_on_commit) > hooks:
        guard_hooks(hooks, directives, handler, tenant)
    return [performed[one.pk] for one in directives]


def _execute(given: Sequence[tuple[Context, Any]], handler: AnyHandler) -> Sequence[Any]:
    began = time.monotonic()
    try:
        # What `execute_many` returns may be lazy.
        return [handler.execute(*given[0])] if len(given) == 1 else list(handler.execute_many(given))
    finally:
        seconds_by_name[handler.name] = (time.monotonic() - began) / len(given)


def _payload(directive: Directive, handler: AnyHandler) -> Any:
    if directive.personal is None:
        raise DirectiveError("payload: its personal text was erased")
    return handler.parse(directive.payload)


def _keep_leases(waiting: Sequence[Directive], ours_until: float) -> float:
    """Renew the leases of what waits in the batch when they may expire during the next execution."""
    lease, timeout = settings.DIRECTIVES_LEASE_SECONDS, max(map(_timeout_of, waiting))
    if ours_until >= time.monotonic() + timeout + lease / 3:
        return ours_until
    transitions.renew(waiting, lease=timeout + lease)
    return time.monotonic() + timeout + lease


def _timeout_of(directive: Directive) -> float:
    handler = registry.find(directive.name)
    return handler.timeout if handler else Handler.timeout


def _execute_alone(directive: Directive, tenant: Tenant) -> Outcome:
    try:
        with work.attempting(directive, tenant.slug) as attempt:
            outcome = _attempt(directive, tenant)
            attempt.ended(outcome.kind)
    except Exception as error:
        if not failures.concerns_one_row(error):
            raise
        restore_connection(tenant)
        outcome = failures.set_aside(directive.pk, tenant, error, attempt=directive.attempt)
    return outcome


def _attempt(directive: Directive, tenant: Tenant) -> Outcome:
    handler = registry.find(directive.name)
    try:
        _begin(directive)
        if handler is None:
            raise Retry(f"this worker does not know the name {directive.name}; another one may")
        with transaction.atomic(durable=True):
            limits.limit_session(handler.timeout)
            performed = perform([directive], handler, tenant)
            transitions.store_signals([directive], _signals([directive], performed, tenant))
            _succeed([directive], performed, [None])
    except StaleAttempt as error:
        return record_stale(directive, error)
    except (Exception, TimeLimitExceeded) as error:
        policy = DEPLOY_RETRY if handler is None or failures.lacks_migration(error) else handler.retry
        return record_failure(directive, policy, tenant, error)
    return Outcome(Kind.SUCCEEDED, directive.id)


def _begin(directive: Directive) -> None:
    with transaction.atomic(durable=True):
        # Not waiting for the disk can lose this note when the database server itself crashes, and
        # the attempt is not charged then. Once is no harm; what crashes it each time is charged.
        relaxed = {"synchronous_commit": "off"} if directive.attempt == 1 else {}
        limits.limit_idle_in_transaction(settings.DIRECTIVES_LEASE_SECONDS, **relaxed)
        transitions.begin(directive, lease=_timeout_of(directive) + settings.DIRECTIVES_LEASE_SECONDS)


def _signals(
    directives: Sequence[Directive], performed: Sequence[Performed], tenant: Tenant
) -> list[Signal]:
    """Return the signals of successes: the handlers', and that each directive succeeded."""
    signals: list[Signal] = []
    for directive, (result, emitted, _) in zip(directives, performed, strict=True):
        details, name = {"result": result}, "directive.succeeded"
        ended = transitions.lifecycle_signal(directive, name, details, tenant=tenant.slug)
        signals += [*emitted, ended]
    return signals


def _succeed(
    directives: Sequence[Directive], performed: Sequence[Performed], began: Sequence[datetime | None]
) -> None:
    transitions.succeed(directives, [one.result for one in performed], began)
    if timed := [one for one in directives if one.expires_at]:
        expiry.request_ends(timed)


def _may_share(directive: Directive) -> bool:
    """Return whether a directive may join a group.

    A quick one, so that the others do not wait, and a first attempt: nothing says which member of a group
    killed its worker, so that their next attempts, alone, have to.
    """
    return (
        directive.attempt == 1
        and seconds_by_name.get(directive.name, math.inf) <= QUICK_SECONDS
        and registry.find(directive.name) is not None
    )


def _execute_together(directives: Sequence[Directive], tenant: Tenant) -> tuple[list[Outcome], set[UUID]]:
    """Execute directives in one transaction, from the first on, as many as `GROUP_SECONDS` allow.

    Returns:
        the outcomes of those that succeeded, and the ids of those to execute alone.
    """
    group = _Group(tenant)
    try:
        with transaction.atomic(durable=True):
            group.perform(directives)
            group.store()
    except (Exception, TimeLimitExceeded) as error:
        if len(directives) > 1:
            logger.info("a group breaks up: %s", errors.brief(error))
        restore_connection(tenant)
        return [], {directive.pk for directive in group.reached or directives[:1]}
    work.ended_jointly([member.attempt for member in group.members], Kind.SUCCEEDED)
    outcomes = [Outcome(Kind.SUCCEEDED, member.directive.pk) for member in group.members]
    reached = {directive.pk for directive in group.reached}
    return outcomes, reached.difference(outcome.directive_id for outcome in outcomes)


@dataclass(slots=True)
class _Group:
    """The directives of one transaction."""

    tenant: Tenant
    reached: list[Directive] = field(default_factory=list)
    members: list[_Member] = field(default_factory=list)
    _has_savepoint: bool = True

    def perform(self, directives: Sequence[Directive]) -> None:
        """Have the handlers make their changes, until the group's time is over."""
        ends = time.monotonic() + GROUP_SECONDS
        # Undoing the only one is undoing everything.
        self._has_savepoint = len(directives) > 1
        savepoint = [(SAVEPOINT, ())] if self._has_savepoint else []
        timeout = registry.get(directives[0].name).timeout
        held = transitions.hold(
            directives, before=limits.limiting_session(timeout, **_LOCK_LIMIT), after=savepoint
        )
        since = time.monotonic()
        for name, run in groupby(directives, key=lambda directive: directive.name):
            handler = registry.get(name)
            if handler.timeout != timeout:
                timeout = handler.timeout
                limits.limit_session(timeout, **_LOCK_LIMIT)
            takes_many = type(handler).execute_many is not Handler.execute_many
            for portion in [list(run)] if takes_many else [[one] for one in run]:
                if self.reached and time.monotonic() > ends:
                    return
                self.reached += portion
                began = timedelta(seconds=time.monotonic() - since)
                self._join([(one, held[one.pk] + began) for one in portion if one.pk in held], handler)

    def store(self) -> None:
        """Store what the members have done; signals that cannot be stored break the group."""
        if self.members:
            directives, began, _, performed = zip(*self.members, strict=True)
            bus.record(_signals(directives, performed, self.tenant))
            _succeed(directives, performed, began)

    def _join(self, started: Sequence[tuple[Directive, datetime]], handler: AnyHandler) -> None:
        """Execute together what `execute_many` can; all others, and all when that fails, one by one."""
        if len(started) > 1 and self._join_many(started, handler):
            return
        for directive, began in started:
            try:
                with (
                    work.attempting(directive, self.tenant.slug) as attempt,
                    moved_savepoint() if self._has_savepoint else nullcontext(),
                ):
                    try:
                        [performed] = perform([directive], handler, self.tenant)
                    except BaseException:
                        tracing.note(again="alone")
                        raise
                    tracing.note(outcome=Kind.SUCCEEDED)
            except (Exception, TimeLimitExceeded):
                if not self._has_savepoint:
                    raise
                return_to(self.tenant)
            else:
                self.members.append(_Member(directive, began, attempt, performed))

    def _join_many(self, started: Sequence[tuple[Directive, datetime]], handler: AnyHandler) -> bool:
        clock = time.perf_counter()
        try:
            with moved_savepoint():
                performed = perform([one for one, _ in started], handler, self.tenant)
        except (Exception, TimeLimitExceeded) as error:
            logger.warning("%s: execute_many fails: %s", handler.name, errors.brief(error))
            return_to(self.tenant)
            return False
        for (directive, began), one in zip(started, performed, strict=True):
            if one.error is None:
                with work.attempting(directive, self.tenant.slug, began=clock) as attempt:
                    tracing.note(outcome=Kind.SUCCEEDED)
                self.members.append(_Member(directive, began, attempt, one))
        return True


def _check(returned: object, context: Context, handler: AnyHandler, tenant: Tenant) -> Performed:
    context.has_ended, directive = True, context.directive
    if not isinstance(returned, dict):
        raise DirectiveError(f"result: expected a dictionary; got {type(returned).__name__}")
    if context.repetition:
        raise context.repetition
    if handler.inverse and "revision" not in returned:
        # An undo compares the subject's revision now, if it has one, with the one that it finds.
        found = registry.subject_values(directive.subject_type, [directive.subject_id], "revision")
        for revision in found.values():
            returned = {**returned, "revision": revision}
    named = {**returned, "type": directive.name, "tenant": tenant.slug}
    return Performed(json_object("result", named), context.signals)
