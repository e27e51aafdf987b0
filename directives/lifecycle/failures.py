"""Classifies errors, and sets aside directives whose rows cannot be handled: one never stops its tenant."""

import logging
from uuid import UUID

from django.db import DatabaseError, transaction

from directives.errors import Refused, Retry, StaleAttempt
from directives.lifecycle import queries, transitions
from directives.models import ERROR_LENGTH, Directive
from directives.outcomes import Kind, Outcome
from fleetprompt.errors import sqlstate
from fleetprompt.postgres import outages
from fleetprompt.telemetry import errors, metrics, work
from fleetprompt.tenants.models import Tenant
from fleetprompt.time_limit import TimeLimitExceeded, time_limit
from signals.types import Actor, Personal

logger = logging.getLogger(__name__)

RUNNER = Actor("system", "runner")
TEXT_SECONDS = 1.0
"""How long an exception may take to give its message."""
_ALWAYS_READABLE = ("name", "status", "attempt", *queries.COPIED)
"""The fields that can be read whatever was written into a row."""
_SCHEMA_CLASS = "42"  # syntax error or access rule violation
_MISSING_STATES = ("42703", "42P01")  # undefined column, undefined table


def is_transient(error: BaseException) -> bool:
    """Return whether the same attempt may work later.

    True for a handler's `Retry`, for running over the time limit, and for transient errors of PostgreSQL.
    """
    return isinstance(error, Retry | TimeLimitExceeded) or outages.is_transient(error)


def concerns_one_row(error: BaseException) -> bool:
    """Return whether an error of the runner may concern only the row that it was about.

    False for what may work later, and for missing tables, columns and rights: those concern every row,
    and no directive is to fail for them.
    """
    return not is_transient(error) and not sqlstate(error).startswith(_SCHEMA_CLASS)


def lacks_migration(error: BaseException) -> bool:
    """Return whether a column or a table is missing, as where new code runs before its migrations."""
    return isinstance(error, DatabaseError) and sqlstate(error) in _MISSING_STATES


def describe(error: BaseException) -> str:
    """Return the error's class and message as one storable text of at most 2,000 characters."""
    try:
        with time_limit(TEXT_SECONDS):
            message = str(error)[: ERROR_LENGTH + 1]
    except (Exception, TimeLimitExceeded) as broken:
        message = f"its text cannot be had: {type(broken).__name__}"
    text = f"{type(error).__name__}: {message}".replace("\x00", "\\0")
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= ERROR_LENGTH else text[: ERROR_LENGTH - 1] + "…"


def set_aside(
    directive_id: UUID, tenant: Tenant, error: BaseException, *, attempt: int | None = None
) -> Outcome:
    """End a directive that cannot be handled as failed, by itself, using as little of its row as can be.

    Args:
        error: what went wrong while it was claimed, rescued, executed or recorded.
        attempt: the attempt that this worker has claimed; by default the current one.

    Returns:
        failed; discarded when another worker has it by now, or when not even this is possible.

    Raises:
        DatabaseError: something that may work later, or that is wrong with the schema.
    """
    text = describe(error)
    logger.error("directive %s is set aside: %s", directive_id, errors.brief(error), exc_info=error)
    try:
        with transaction.atomic():
            directive = Directive.objects.only(*_ALWAYS_READABLE).filter(pk=directive_id).first()
            if directive is None or attempt not in (None, directive.attempt):
                return Outcome(Kind.DISCARDED, directive_id, "another worker was faster")
            if attempt is not None and directive.status != Directive.Status.RUNNING:
                # The attempt was recorded before the error: that stays as it is.
                return Outcome(Kind.DISCARDED, directive_id, f"the attempt has left it {directive.status}")
            if not queries.keep_texts([directive_id]):
                text = f"{errors.brief(error)}: its message may quote a text that was erased"
            transitions.set_aside(directive, text, _store_failed(directive, text, tenant))
            work.gave_up(directive.name)
    except StaleAttempt as stale:
        return Outcome(Kind.DISCARDED, directive_id, str(stale))
    except Exception as broken:
        if not concerns_one_row(broken):
            raise
        logger.error(
            "directive %s cannot even be set aside: %s", directive_id, errors.brief(broken), exc_info=broken
        )
        return Outcome(Kind.DISCARDED, directive_id, f"cannot be set aside: {describe(broken)}")
    return Outcome(Kind.FAILED, directive_id, text)


def _store_failed(directive: Directive, text: str, tenant: Tenant) -> list[str]:
    """Store `directive.failed`; return the names of signals that could not be stored."""
    name = "directive.failed"
    try:
        # The runner ends it, and its own actor may be what is wrong.
        failed = transitions.lifecycle_signal(
            directive, name, {"error": Personal(text)}, tenant=tenant.slug, actor=RUNNER
        )
    except Refused as refusal:
        logger.error("signal %s of %s is lost: %s", name, directive, errors.brief(refusal))
        metrics.FAILED_WRITES.add(name)
        return [name]
    return [lost.name for lost in transitions.store_each([failed])]
