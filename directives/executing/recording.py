"""Records how an attempt failed: as a retry at a later time, or for good."""

import logging
from collections.abc import Callable

from django.conf import settings
from django.db import connection, transaction

from directives.errors import MAX_WAIT_SECONDS, DirectiveError, Retry, StaleAttempt
from directives.executing.retry import RetryPolicy
from directives.lifecycle import failures, queries, transitions
from directives.models import Directive
from directives.outcomes import Kind, Outcome
from directives.queueing import adapter
from fleetprompt.postgres.idle_in_transaction import limit_idle_in_transaction
from fleetprompt.telemetry import errors, tracing
from fleetprompt.tenants.context import return_to
from fleetprompt.tenants.models import Tenant
from fleetprompt.time_limit import TimeLimitExceeded, time_limit
from signals.types import Personal

logger = logging.getLogger(__name__)


def record_failure(
    directive: Directive, policy: RetryPolicy, tenant: Tenant, error: BaseException
) -> Outcome:
    """Record that the running attempt failed, after everything that it did was rolled back.

    It is tried again by the policy, if it may work later and has attempts left.

    Returns:
        retry scheduled or failed; succeeded or discarded when the attempt is not the current one any more.
    """
    text = failures.describe(error)
    tracing.failed(error)
    if not isinstance(error, DirectiveError | Retry):
        # The message may quote the payload: it is kept on the directive, and nowhere else.
        logger.warning(
            "%s, attempt %d: %s", directive, directive.attempt, errors.brief(error), exc_info=error
        )
    restore_connection(tenant)
    try:
        with transaction.atomic(durable=True):
            limit_idle_in_transaction(settings.DIRECTIVES_LEASE_SECONDS)
            quoted = {*error.quoted} if isinstance(error, DirectiveError) else set()
            # With its own, in the order in which everybody locks them.
            if quoted and not quoted <= queries.keep_texts({directive.pk, *quoted}):
                text = f"{errors.brief(error)}: its message quoted a text that was erased"
            may_work = failures.is_transient(error) or failures.lacks_migration(error)
            if may_work and directive.attempt < directive.max_attempts:
                delay = _delay(error, policy, directive.attempt)
                details = {"error": Personal(text), "delay_seconds": round(delay, 3)}
                transitions.tell([directive], "directive.retry_scheduled", tenant, **details)
                transitions.retry(directive, text, delay=delay)
                adapter.wake(tenant, after=delay)
                return Outcome(Kind.RETRY_SCHEDULED, directive.id, text)
            transitions.tell([directive], "directive.failed", tenant, error=Personal(text))
            transitions.fail(directive, text)
            return Outcome(Kind.FAILED, directive.id, text)
    except StaleAttempt as stale:
        return record_stale(directive, stale, f"; its own failure was: {errors.brief(error)}")


def record_stale(directive: Directive, error: StaleAttempt, more: str = "") -> Outcome:
    """Return the outcome of an attempt that is not the directive's current one any more."""
    succeeded = Directive.objects.filter(
        pk=directive.pk, attempt=directive.attempt, status=Directive.Status.SUCCEEDED
    )
    if succeeded.exists():
        # The commit went through: the connection broke before it said so, or what hung on it failed.
        return Outcome(Kind.SUCCEEDED, directive.id)
    logger.warning("%s%s", error, more)
    return Outcome(Kind.DISCARDED, directive.id, str(error))


def restore_connection(tenant: Tenant) -> None:
    """Make the connection usable again and the tenant active, whatever happened."""
    if not connection.is_usable():
        connection.close()
    return_to(tenant)


def _delay(error: BaseException, policy: RetryPolicy, attempt: int) -> float:
    """Return the seconds to wait: as the error asks, else by the policy; the usual if that is no wait."""
    delay = _seconds(lambda: error.after) if isinstance(error, Retry) else None
    if delay is None:
        delay = _seconds(lambda: policy.delay(attempt))
    return RetryPolicy().delay(attempt) if delay is None else delay


def _seconds(ask: Callable[[], float | None]) -> float | None:
    """Return what a handler's code gives as a wait, at most `MAX_WAIT_SECONDS`; None when it gives none."""
    try:
        with time_limit(failures.TEXT_SECONDS):
            seconds = ask()
            return min(float(seconds), MAX_WAIT_SECONDS) if seconds is not None and seconds >= 0 else None
    except (Exception, TimeLimitExceeded) as error:
        logger.warning("a handler's wait is no number of seconds: %s", errors.brief(error))
        return None
