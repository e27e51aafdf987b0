"""One attempt at one directive: everything its handler does commits with its success, or nothing does."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import connection as _django_connection
from django.db import transaction
from psycopg.pq import TransactionStatus

from directives import registry
from directives.errors import LONGEST_WAIT, DirectiveError, Refused, Retry, StaleAttempt
from directives.executing import batch_size, failures
from directives.executing.retry import RetryPolicy
from directives.executing.timeouts import TimeLimitExceeded, limit_session, time_limit
from directives.handlers import Context, Handler
from directives.lifecycle import events, transitions
from directives.models import Directive
from directives.monitoring import telemetry
from directives.outcomes import Kind, Outcome
from directives.queueing import adapter
from directives.registry import AnyHandler
from fleetprompt.postgres.idle_in_transaction import limit_idle_in_transaction
from fleetprompt.telemetry import errors, metrics, tracing
from fleetprompt.tenants.context import active_schema, is_whole, restore, return_to
from fleetprompt.tenants.models import Tenant
from signals.models import Signal
from signals.types import Actor, json_object

connection: Any = _django_connection
logger = logging.getLogger(__name__)

RUNNER = Actor("system", "runner")
# A rolling deploy takes minutes: 5 attempts are spread over about 20.
UNKNOWN_NAME_RETRY = RetryPolicy(first=30, factor=3, longest=3600)


class Performed(NamedTuple):
    """What a handler gave back, checked, and what it says happened; nothing of it is stored yet."""

    result: dict[str, Any]
    signals: Sequence[Signal]


def execute(directive: Directive, tenant: Tenant) -> Outcome:
    """Execute the claimed attempt of `directive` and record how it ended.

    Args:
        directive: as `runner` claimed it; its `attempt` fences every write.
        tenant: the active tenant.

    Returns:
        succeeded, failed, retry scheduled, or discarded when another attempt took the directive over.
    """
    handler = registry.find(directive.name)
    try:
        _begin(directive)
        _attempt(directive, handler, tenant)
    except StaleAttempt as error:
        return _superseded(directive, error)
    except (Exception, TimeLimitExceeded) as error:
        return _record_failure(directive, handler, tenant, error)
    return Outcome(Kind.SUCCEEDED, directive.id)


def timeout_of(directive: Directive) -> float:
    """Return how many seconds one attempt at `directive` may take here."""
    handler = registry.find(directive.name)
    return handler.timeout if handler else Handler.timeout


def perform(directive: Directive, handler: AnyHandler, tenant: Tenant) -> Performed:
    """Have the handler make its change within its time limit, in the caller's transaction.

    The caller has bounded the session (`limit_session`).

    Raises:
        DirectiveError: it can never work, or what the handler gave back is no result.
        Retry, TimeLimitExceeded, Exception: whatever else went wrong.
    """
    context = Context(directive, tenant.slug)
    hooks = len(connection.run_on_commit)
    with time_limit(handler.timeout):
        payload = handler.parse(directive.payload)
        with batch_size.timing(handler.name):
            returned = handler.execute(context, payload)
        # Reading the result may run the handler's code, too.
        performed = _check(returned, context, tenant)
    _leave(hooks, [directive], handler, tenant)
    return performed


def perform_many(
    directives: Sequence[Directive], handler: AnyHandler, tenant: Tenant
) -> list[Performed | Exception]:
    """Have the handler make many changes at once; as `perform` in everything else.

    Returns:
        for each directive, in their order, what it came to, or the error that `perform` would raise.

    Raises:
        TimeLimitExceeded, Exception: what went wrong for all.
    """
    hooks = len(connection.run_on_commit)
    with time_limit(handler.timeout):
        work = [(Context(one, tenant.slug), handler.parse(one.payload)) for one in directives]
        with batch_size.timing(handler.name, len(work)):
            # What it gives may be lazy.
            returned = list(handler.execute_many(work))
        performed = [
            one if isinstance(one, Exception) else _check(one, context, tenant)
            for (context, _), one in zip(work, returned, strict=True)
        ]
    _leave(hooks, directives, handler, tenant)
    return performed


def succeeded(directive: Directive, performed: Performed, tenant: Tenant) -> list[Signal]:
    """Return the signals of a success, not stored yet: the handler's, and that it succeeded."""
    fact = events.fact(directive, "directive.succeeded", {"result": performed.result}, tenant=tenant.slug)
    return [*performed.signals, fact]


def _begin(directive: Directive) -> None:
    with transaction.atomic(durable=True):
        # Not waiting for the disk can lose this note when the database server itself crashes, and
        # the attempt is not charged then. Once is no harm; what crashes it each time is charged.
        relaxed = {"synchronous_commit": "off"} if directive.attempt == 1 else {}
        limit_idle_in_transaction(settings.DIRECTIVES_LEASE_SECONDS, **relaxed)
        transitions.begin(directive, lease=timeout_of(directive) + settings.DIRECTIVES_LEASE_SECONDS)


def _attempt(directive: Directive, handler: AnyHandler | None, tenant: Tenant) -> None:
    if handler is None:
        raise Retry(f"this worker does not know the name {directive.name}; another one may")
    with transaction.atomic(durable=True):
        limit_session(handler.timeout)
        performed = perform(directive, handler, tenant)
        lost = events.write(succeeded(directive, performed, tenant))
        transitions.succeed(directive, performed.result, events.note_lost(directive, lost))


def _leave(first: int, directives: Sequence[Directive], handler: AnyHandler, tenant: Tenant) -> None:
    """Check that a handler is still in its tenant, and guard each `on_commit` hook that it has left.

    Args:
        first: how many hooks there were before the handler was called.

    Raises:
        DirectiveError: another schema is active.
    """
    if not is_whole(tenant):
        raise DirectiveError(f"the handler left its tenant: {active_schema()} is active")
    hooks: Any = connection.run_on_commit
    if len(hooks) > first:
        hooks[first:] = [
            (ids, partial(_call_hook, hook, directives, handler, tenant), False)
            for ids, hook, _ in hooks[first:]
        ]


def _call_hook(
    hook: Callable[[], object], directives: Sequence[Directive], handler: AnyHandler, tenant: Tenant
) -> None:
    """Run a handler's hook so that the others run whatever it does, and that it harms nobody after it."""

    def say(what: str, error: BaseException | None = None) -> None:
        named = ", ".join(map(str, directives))
        logger.error("%s: an on_commit hook %s", named, what, exc_info=error)

    try:
        with time_limit(handler.timeout):
            hook()
    except (Exception, TimeLimitExceeded) as error:
        say(f"fails: {errors.brief(error)}", error)
    if restore(tenant):
        say("left its tenant")
    if _is_spoilt():
        say("left the connection closed or in a transaction")
        connection.close()


def _is_spoilt() -> bool:
    """Return whether the connection is there, but not as it is after a commit; the server is not asked."""
    real = connection.connection
    return real is not None and (
        real.closed or not connection.autocommit or real.info.transaction_status != TransactionStatus.IDLE
    )


def _check(returned: object, context: Context, tenant: Tenant) -> Performed:
    context.has_ended = True
    if not isinstance(returned, dict):
        raise DirectiveError(f"result: expected a dictionary; got {type(returned).__name__}")
    if context.repetition:
        raise context.repetition
    named = {**returned, "type": context.directive.name, "tenant": tenant.slug}
    return Performed(json_object("result", named), context.signals)


def _record_failure(
    directive: Directive, handler: AnyHandler | None, tenant: Tenant, error: BaseException
) -> Outcome:
    text = failures.describe(error)
    tracing.failed(error)
    if not isinstance(error, DirectiveError | Retry):
        # The message may quote the payload: it is kept on the directive, and nowhere else.
        logger.warning(
            "%s, attempt %d: %s", directive, directive.attempt, errors.brief(error), exc_info=error
        )
    recover(tenant)
    try:
        with transaction.atomic(durable=True):
            limit_idle_in_transaction(settings.DIRECTIVES_LEASE_SECONDS)
            if failures.is_transient(error) and directive.attempt < directive.max_attempts:
                return _schedule_retry(directive, handler, tenant, error, text)
            return fail(directive, tenant, text)
    except StaleAttempt as superseded:
        return _superseded(directive, superseded, f"; its own failure was: {errors.brief(error)}")


def _superseded(directive: Directive, error: StaleAttempt, more: str = "") -> Outcome:
    succeeded = Directive.objects.filter(
        pk=directive.pk, attempt=directive.attempt, status=Directive.Status.SUCCEEDED
    )
    if succeeded.exists():
        # The commit went through: the connection broke before it said so, or what hung on it failed.
        return Outcome(Kind.SUCCEEDED, directive.id)
    logger.warning("%s%s", error, more)
    return Outcome(Kind.DISCARDED, directive.id, str(error))


def recover(tenant: Tenant) -> None:
    """Make the connection usable again and the tenant active, whatever happened."""
    if not connection.is_usable():
        connection.close()
    return_to(tenant)


def fail(directive: Directive, tenant: Tenant, text: str) -> Outcome:
    """End the running attempt as failed, in the caller's transaction.

    Args:
        text: the error, as `failures.describe` writes it.

    Raises:
        StaleAttempt: it is not the directive's current attempt.
    """
    failed = events.fact(directive, "directive.failed", {"error": text}, tenant=tenant.slug)
    transitions.fail(directive, text, events.note_lost(directive, events.write([failed])))
    return Outcome(Kind.FAILED, directive.id, text)


def set_aside(
    directive_id: UUID, tenant: Tenant, error: BaseException, *, attempt: int | None = None
) -> Outcome:
    """End a directive that cannot be handled as failed, by itself, using as little of its row as can be.

    Args:
        error: what went wrong while it was claimed, rescued, executed or recorded.
        attempt: the attempt that this worker has claimed; by default the current one.

    Returns:
        failed; discarded when it is another worker's by now, or when not even this is possible.

    Raises:
        DatabaseError: something that may work later, or that is wrong with the schema.
    """
    text = failures.describe(error)
    logger.error("directive %s is set aside: %s", directive_id, errors.brief(error), exc_info=error)
    try:
        with transaction.atomic():
            directive = transitions.read_little(directive_id)
            if directive is None or attempt not in (None, directive.attempt):
                return Outcome(Kind.DISCARDED, directive_id, "another worker was faster")
            if attempt is not None and directive.status != Directive.Status.RUNNING:
                # The attempt was recorded before the error: that stays as it is.
                return Outcome(Kind.DISCARDED, directive_id, f"the attempt has left it {directive.status}")
            transitions.set_aside(directive, text, _say_failed(directive, text, tenant))
            telemetry.gave_up(directive.name)
    except StaleAttempt as superseded:
        return Outcome(Kind.DISCARDED, directive_id, str(superseded))
    except Exception as broken:
        if not failures.may_be_of_one(broken):
            raise
        logger.error(
            "directive %s cannot even be set aside: %s", directive_id, errors.brief(broken), exc_info=broken
        )
        return Outcome(Kind.DISCARDED, directive_id, f"cannot be set aside: {failures.describe(broken)}")
    return Outcome(Kind.FAILED, directive_id, text)


def _say_failed(directive: Directive, text: str, tenant: Tenant) -> list[str]:
    """Store `directive.failed`; return the names of signals that could not be."""
    name = "directive.failed"
    try:
        # It is the runner that ends it, and its own actor may be what is wrong.
        failed = events.fact(directive, name, {"error": text}, tenant=tenant.slug, actor=RUNNER)
    except Refused as refusal:
        logger.error("signal %s of %s is lost: %s", name, directive, errors.brief(refusal))
        metrics.FAILED_WRITES.add(name)
        return [name]
    return [lost.name for lost in events.write([failed])]


def _schedule_retry(
    directive: Directive,
    handler: AnyHandler | None,
    tenant: Tenant,
    error: BaseException,
    text: str,
) -> Outcome:
    policy = handler.retry if handler else UNKNOWN_NAME_RETRY
    delay = _delay(error, policy, directive.attempt)
    scheduled = events.fact(
        directive,
        "directive.retry_scheduled",
        {"error": text, "delay_seconds": round(delay, 3)},
        tenant=tenant.slug,
    )
    metadata = events.note_lost(directive, events.write([scheduled]))
    transitions.retry(directive, text, metadata, delay=delay)
    adapter.wake(tenant, after=delay)
    return Outcome(Kind.RETRY_SCHEDULED, directive.id, text)


def _delay(error: BaseException, policy: RetryPolicy, attempt: int) -> float:
    """Return the seconds to wait: as the error asks, else by the policy; the usual if that is no wait."""
    delay = _seconds(lambda: error.after) if isinstance(error, Retry) else None
    if delay is None:
        delay = _seconds(lambda: policy.delay(attempt))
    return RetryPolicy().delay(attempt) if delay is None else delay


def _seconds(ask: Callable[[], Any]) -> float | None:
    """Return what a handler's code gives as a wait, at most `LONGEST_WAIT`; None when it gives none."""
    try:
        with time_limit(failures.TEXT_SECONDS):
            seconds = ask()
            return min(float(seconds), LONGEST_WAIT) if seconds is not None and seconds >= 0 else None
    except (Exception, TimeLimitExceeded) as error:
        logger.warning("a handler's wait is no number of seconds: %s", errors.brief(error))
        return None
