"""Sets aside directives whose rows cannot be handled, so that one never stops its tenant."""

import logging
from uuid import UUID

from django.db import transaction

from directives.errors import Refused, StaleAttempt
from directives.lifecycle import failures, queries, transitions
from directives.models import Directive
from directives.outcomes import Kind, Outcome
from fleetprompt.telemetry import errors, metrics, work
from fleetprompt.tenants.models import Tenant
from signals.types import Actor

logger = logging.getLogger(__name__)

RUNNER = Actor("system", "runner")
_ALWAYS_READABLE = ("name", "status", "attempt", *queries.COPIED)
"""The fields that can be read whatever was written into a row."""


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
    text = failures.describe(error)
    logger.error("directive %s is set aside: %s", directive_id, errors.brief(error), exc_info=error)
    try:
        with transaction.atomic():
            directive = Directive.objects.only(*_ALWAYS_READABLE).filter(pk=directive_id).first()
            if directive is None or attempt not in (None, directive.attempt):
                return Outcome(Kind.DISCARDED, directive_id, "another worker was faster")
            if attempt is not None and directive.status != Directive.Status.RUNNING:
                # The attempt was recorded before the error: that stays as it is.
                return Outcome(Kind.DISCARDED, directive_id, f"the attempt has left it {directive.status}")
            transitions.set_aside(directive, text, _store_failed(directive, text, tenant))
            work.gave_up(directive.name)
    except StaleAttempt as stale:
        return Outcome(Kind.DISCARDED, directive_id, str(stale))
    except Exception as broken:
        if not failures.concerns_one_row(broken):
            raise
        logger.error(
            "directive %s cannot even be set aside: %s", directive_id, errors.brief(broken), exc_info=broken
        )
        return Outcome(Kind.DISCARDED, directive_id, f"cannot be set aside: {failures.describe(broken)}")
    return Outcome(Kind.FAILED, directive_id, text)


def _store_failed(directive: Directive, text: str, tenant: Tenant) -> list[str]:
    """Store `directive.failed`; return the names of signals that could not be stored."""
    name = "directive.failed"
    try:
        # The runner ends it, and its own actor may be what is wrong.
        failed = transitions.lifecycle_signal(
            directive, name, {"error": text}, tenant=tenant.slug, actor=RUNNER
        )
    except Refused as refusal:
        logger.error("signal %s of %s is lost: %s", name, directive, errors.brief(refusal))
        metrics.FAILED_WRITES.add(name)
        return [name]
    return [lost.name for lost in transitions.store_each([failed])]
