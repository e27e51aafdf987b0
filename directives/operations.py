"""Operations of people on stored directives: snooze, run now, cancel, rerun; each with actor and reason."""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

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
from directives.requesting.validation import check_reason
from fleetprompt.postgres.primary_keys import parse_uuid
from fleetprompt.tenants.context import active_tenant
from signals import bus
from signals.types import Actor, check_moment


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
    return _operate(
        directive_id,
        "snooze",
        "directive.snoozed",
        actor,
        reason,
        lambda pk, _: transitions.snooze(pk, until),
        wake_at=until,
    )


def run_now(directive_id: UUID | str, *, actor: Actor, reason: str) -> Directive:
    """Make a requested directive due now; a worker then runs it as soon as its line allows.

    Args, returns and errors as for `snooze`; users need the permission to snooze, since both move its time.
    """
    return _operate(
        directive_id,
        "snooze",
        "directive.run_requested",
        actor,
        reason,
        lambda pk, _: transitions.run_now(pk),
    )


def cancel(directive_id: UUID | str, *, actor: Actor, reason: str) -> Directive:
    """End a requested directive that has not run; a rerun can bring it back.

    Args, returns and errors as for `snooze`; users need the permission to cancel.
    """
    return _operate(
        directive_id, "cancel", "directive.canceled", actor, reason, lambda pk, _: transitions.cancel(pk)
    )


def rerun(directive_id: UUID | str, *, actor: Actor, reason: str) -> Directive:
    """Have a directive that ended run once more, at the end of its line, with its attempts counted on.

    Args, returns and errors as for `snooze`; users need the permission to rerun.
    """

    def move(pk: UUID, name: str) -> Directive:
        handler = registry.find(name)
        return transitions.rerun(pk, (handler.retry if handler else RetryPolicy()).max_attempts)

    return _operate(directive_id, "rerun", "directive.rerun_requested", actor, reason, move)


def parse_id(value: UUID | str) -> UUID:
    """Return `value` as a UUID.

    Raises:
        Refused: it is none.
    """
    if pk := parse_uuid(value):
        return pk
    raise Refused(f"id: expected a UUID; got {str(value)[:80]!r}")


def _operate(
    directive_id: UUID | str,
    action: str,
    signal: str,
    actor: Actor,
    reason: str,
    move: Callable[[UUID, str], Directive],
    *,
    wake_at: datetime | None = None,
) -> Directive:
    """Check an operation, move the directive, store its signal and wake workers, in one transaction.

    Args:
        action: what the actor needs the permission for.
        move: makes the transition; it gets the directive's id and name.
        wake_at: when the directive becomes due; by default now, unless it was canceled.
    """
    pk, tenant = parse_id(directive_id), active_tenant()
    check_reason(reason, required=True)
    with transaction.atomic():
        name = Directive.objects.filter(pk=pk).values_list("name", flat=True).first()
        if name is None:
            raise DirectiveNotFound(f"id: this tenant has no directive {pk}")
        permissions.check(actor, action, name)
        directive = move(pk, name)
        payload = {"reason": reason} | ({"until": wake_at.isoformat()} if wake_at else {})
        number = directive.operations[signal][1]
        told = lifecycle_signal(directive, signal, payload, tenant=tenant.slug, actor=actor, number=number)
        bus.record([told])
        if wake_at:
            adapter.wake(tenant, at=wake_at)
        is_due = not wake_at and directive.status == Directive.Status.REQUESTED
        # Those behind it in its line may start.
        if is_due or directive.ordering_key:
            adapter.wake(tenant)
    return directive
