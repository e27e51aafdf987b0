"""Operations of people on stored directives: snooze, run now, cancel, rerun and undo, for a reason."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID, uuid4

from django.db import transaction
from django.utils import timezone

from directives import registry
from directives.authority import permissions
from directives.errors import DirectiveNotFound, Refused
from directives.executing.retry import RetryPolicy
from directives.lifecycle import transitions
from directives.lifecycle.transitions import lifecycle_signal
from directives.models import Directive
from directives.queueing import adapter
from directives.requesting import batches, undoing
from directives.requesting.validation import DirectiveRequest, check_reason
from directives.requests import Requested, request_each, request_many
from fleetprompt.postgres.primary_keys import parse_uuid
from fleetprompt.tenants.context import active_tenant
from signals import bus
from signals.types import ID_LENGTH, Actor, Personal, check_moment, check_text


@transaction.atomic
def snooze(directive_id: UUID | str, until: datetime, *, actor: Actor, reason: str) -> Directive:
    """Postpone a requested directive; it costs no attempt, and later ones on its subject may pass it.

    Args:
        directive_id: a directive of the active tenant.
        until: when it becomes due, with a time zone, in the future.
        actor: who does it; users need the permission to snooze directives of its name.
        reason: why, 1 to 1,000 characters.

    Returns:
        the directive as it is now.

    Raises:
        Refused: naming the argument, the permission or the status that does not allow it.
    """
    check_moment("until", until)
    if until <= timezone.now():
        raise Refused(f"until: expected a time in the future; got {until.isoformat()}")
    pk, _ = _permitted(directive_id, "snooze", actor, reason)
    return _told(transitions.snooze(pk, until), "directive.snoozed", actor, reason, until=until)


@transaction.atomic
def run_now(directive_id: UUID | str, *, actor: Actor, reason: str) -> Directive:
    """Make a requested directive due now; a worker then runs it as soon as its line allows.

    Args, returns and errors as for `snooze`; users need the permission to snooze, since both move its time.
    """
    pk, _ = _permitted(directive_id, "snooze", actor, reason)
    return _told(transitions.run_now(pk), "directive.run_requested", actor, reason)


@transaction.atomic
def cancel(directive_id: UUID | str, *, actor: Actor, reason: str) -> Directive:
    """End a requested directive that has not run; a rerun can bring it back.

    Args, returns and errors as for `snooze`; users need the permission to cancel.
    """
    pk, _ = _permitted(directive_id, "cancel", actor, reason)
    return _told(transitions.cancel(pk), "directive.canceled", actor, reason)


@transaction.atomic
def rerun(directive_id: UUID | str, *, actor: Actor, reason: str) -> Directive:
    """Have a directive that ended run once more, at the end of its line, with its attempts counted on.

    Args, returns and errors as for `snooze`; users need the permission to rerun.
    """
    pk, name = _permitted(directive_id, "rerun", actor, reason)
    handler = registry.find(name)
    attempts = (handler.retry if handler else RetryPolicy()).max_attempts
    return _told(transitions.rerun(pk, attempts), "directive.rerun_requested", actor, reason)


@transaction.atomic
def undo(directive_id: UUID | str, *, actor: Actor, reason: str) -> Requested:
    """Request what puts back what a directive did, once for each of its attempts.

    Args as for `snooze`; users need the permission to request the directive itself, and the one that
    undoes it.

    Returns:
        the request that undoes it, and whether it is new.

    Raises:
        Refused: the directive never succeeded, changed nothing, or what it did has changed since.
    """
    pk, _ = _permitted(directive_id, "request", actor, reason)
    [found] = undoing.undo_requests([Directive.objects.get(pk=pk)], active_tenant().slug).values()
    if isinstance(found, Refused):
        raise found
    [requested] = request_many([found], actor=actor, reason=reason)
    return requested


class BatchUndone(NamedTuple):
    """What became of the undo of a batch.

    Args:
        correlation_id: that of the requests that undo it.
        requested: the requests, by the directives that they undo.
        refused: why the others are left as they are, by directive.
    """

    correlation_id: str
    requested: dict[UUID, Requested]
    refused: dict[UUID, Refused]


@transaction.atomic
def undo_batch(correlation_id: str, *, actor: Actor, reason: str) -> BatchUndone:
    """Undo all directives of a batch that can be undone, and name those that cannot.

    Args:
        correlation_id: that of the batch; args otherwise as for `undo`.

    Raises:
        Refused: the reason is not as expected, or no directive has this correlation id.
    """
    check_reason(reason, required=True)
    check_text("batch", correlation_id, length=ID_LENGTH, required=True)
    batch = list(batches.directives(correlation_id))
    if not batch:
        raise DirectiveNotFound(f"batch: this tenant has no directives of {correlation_id!r}")
    for name in {one.name for one in batch}:
        permissions.check(actor, "request", name)
    found: dict[UUID, DirectiveRequest | Requested | Refused] = {
        **undoing.undo_requests(batch, active_tenant().slug)
    }
    asked = {pk: one for pk, one in found.items() if isinstance(one, DirectiveRequest)}
    number = str(uuid4())
    answers = request_each(asked.values(), actor=actor, reason=reason, correlation_id=number)
    found |= dict(zip(asked, answers, strict=True))
    return BatchUndone(
        number,
        {pk: one for pk, one in found.items() if isinstance(one, Requested)},
        {pk: one for pk, one in found.items() if isinstance(one, Refused)},
    )


def parse_id(value: UUID | str) -> UUID:
    """Return `value` as a UUID.

    Raises:
        Refused: it is none.
    """
    if pk := parse_uuid(value):
        return pk
    raise Refused(f"id: expected a UUID; got {str(value)[:80]!r}")


def _permitted(directive_id: UUID | str, action: str, actor: Actor, reason: str) -> tuple[UUID, str]:
    """Return the id and the name of a directive, if the actor may do `action` to it for this reason."""
    pk = parse_id(directive_id)
    active_tenant()
    check_reason(reason, required=True)
    name = Directive.objects.filter(pk=pk).values_list("name", flat=True).first()
    if name is None:
        raise DirectiveNotFound(f"id: this tenant has no directive {pk}")
    permissions.check(actor, action, name)
    return pk, name


def _told(
    directive: Directive, signal: str, actor: Actor, reason: str, *, until: datetime | None = None
) -> Directive:
    """Store the signal of an operation, wake workers, and return the directive.

    Args:
        until: when the directive becomes due; by default now, unless it was canceled.
    """
    tenant, number = active_tenant(), directive.operations[signal][1]
    payload = {"reason": Personal(reason)} | ({"until": until.isoformat()} if until else {})
    told = lifecycle_signal(directive, signal, payload, tenant=tenant.slug, actor=actor, number=number)
    bus.record([told])
    if until:
        adapter.wake(tenant, after=(until - timezone.now()).total_seconds())
    is_due = not until and directive.status == Directive.Status.REQUESTED
    # Those behind it in its line may start.
    if is_due or directive.ordering_key:
        adapter.wake(tenant)
    return directive
