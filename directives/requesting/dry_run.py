"""Dry runs: execute a directive and roll everything back, to show what it would do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.utils import timezone

from directives import registry
from directives.errors import Refused
from directives.executing import attempts
from directives.lifecycle import failures
from directives.models import Directive
from directives.requesting.validation import DirectiveRequest, ValidatedRequest, validate, validate_options
from fleetprompt.postgres.idle_in_transaction import limit_session
from fleetprompt.tenants.context import active_tenant, return_to
from fleetprompt.time_limit import TimeLimitExceeded
from signals.models import Signal
from signals.personal import disclose
from signals.types import Actor, Subject

LOCK_SECONDS = 2
"""How long a dry run waits for a record that a worker holds; the person waits for the page."""


class Difference(NamedTuple):
    """One field of the subject, before and after."""

    field: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class DryRun:
    """What would happen.

    Args:
        subject: what it is about, if about one thing.
        differences: the fields of the subject's record that would change.
        result: what the directive would give back; None when it would fail.
        signals: what it would say happened.
        error: why it would fail; empty when it would not.
    """

    subject: Subject | None
    differences: Sequence[Difference] = ()
    result: Mapping[str, Any] | None = None
    signals: Sequence[Signal] = ()
    error: str = ""


def dry_run(
    name: str,
    payload: Mapping[str, Any],
    *,
    actor: Actor,
    reason: str = "",
    expires_at: datetime | None = None,
) -> DryRun:
    """Execute a directive without a request, in the active tenant, and roll it back.

    Everything is as in a real run, the handler, its time limit and the database, except that nothing
    is kept. Arguments are those of `requests.request`.

    Raises:
        NoActiveTenant: called outside `in_tenant`.
        Refused: what `requests.request` raises for such a request.
        RuntimeError: called inside a transaction, which the rollback would undo.
    """
    tenant = active_tenant()
    request = DirectiveRequest(name, payload, expires_at=expires_at)
    validated = validate(request, validate_options(actor, reason))
    if isinstance(validated, Refused):
        raise validated
    by = {"actor_type": actor.type, "actor_id": actor.id, "actor_label": actor.label}
    directive = Directive(**validated.columns, **by, attempt=1, requested_at=timezone.now())
    try:
        with transaction.atomic(durable=True):
            found = _observe(directive, validated, tenant)
            transaction.set_rollback(True)
    finally:
        return_to(tenant)
    return found


def _observe(directive: Directive, validated: ValidatedRequest, tenant: Any) -> DryRun:
    subject = directive.subject
    before = _fields(subject)
    try:
        # A savepoint, so that the record can be read after an error too.
        with transaction.atomic():
            limit_session(validated.handler.timeout, lock_timeout=f"{LOCK_SECONDS}s")
            [performed] = attempts.perform([directive], validated.handler, tenant)
            # What a commit would check only then: foreign keys.
            connection.check_constraints()
    except (Exception, TimeLimitExceeded) as error:
        return DryRun(subject, error=failures.describe(error))
    after = _fields(subject)
    differences = [
        Difference(name, value, after.get(name, ""))
        for name, value in before.items()
        if value != after.get(name)
    ]
    for signal in performed.signals:
        signal.payload = disclose(signal.payload, signal.personal)
    return DryRun(subject, differences, performed.result, performed.signals)


def _fields(subject: Subject | None) -> dict[str, str]:
    record = registry.subject_records([subject]).get(subject) if subject else None
    if record is None:
        return {}
    return {
        str(field.verbose_name): str(field.value_from_object(record))
        for field in record._meta.concrete_fields
    }
