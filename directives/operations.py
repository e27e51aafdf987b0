"""Operations of people on stored directives: snooze, run now, cancel, rerun; each with actor and reason."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from directives import registry
from directives.authority import permissions
from directives.errors import DirectiveNotFound, Refused
from directives.executing.retry import RetryPolicy
from directives.lifecycle import events, transitions
from directives.lifecycle.transitions import lifecycle_signal
from directives.models import Directive
from directives.queueing import adapter
from directives.requesting.validation import check_reason
from fleetprompt.tenants.context import active_tenant
from signals import bus
from signals.models import Signal
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
        lambda pk, name: transitions.snooze(pk, until),
        actor,
        reason,
        wake_at=until,
        details={"until": until.isoformat()},
    )


def run_now(directive_id: UUID | str, *, actor: Actor, reason: str) -> Directive:
    """Make a requested directive due now; a worker then runs it as soon as its line allows.

    Args, returns and errors as for `snooze`; users need the permission to snooze, since both move its time.
    """
    return _operate(
        directive_id,
        "snooze",
        "directive.run_requested",
        lambda pk, name: transitions.run_now(pk),
        actor,
        reason,
        is_due=True,
    )


def cancel(directive_id: UUID | str, *, actor: Actor, reason: str) -> Directive:
    """End a requested directive that has not run; a rerun can bring it back.

    Args, returns and errors as for `snooze`; users need the permission to cancel.
    """
    return _operate(
        directive_id,
        "cancel",
        "directive.canceled",
        lambda pk, name: transitions.cancel(pk),
        actor,
        reason,
    )


def rerun(directive_id: UUID | str, *, actor: Actor, reason: str) -> Directive:
    """Have a directive that ended run once more, at the end of its line, with its attempts counted on.

    Args, returns and errors as for `snooze`; users need the permission to rerun.
    """

    def transition(pk: UUID, name: str) -> Directive:
        handler = registry.find(name)
        return transitions.rerun(pk, (handler.retry if handler else RetryPolicy()).max_attempts)

    return _operate(
        directive_id, "rerun", "directive.rerun_requested", transition, actor, reason, is_due=True
    )


def parse_id(value: UUID | str) -> UUID:
    """Return `value` as a UUID.

    Raises:
        Refused: it is none.
    """
    try:
        return value if isinstance(value, UUID) else UUID(value)
    except (ValueError, AttributeError, TypeError):
        raise Refused(f"id: expected a UUID; got {str(value)[:80]!r}") from None


def _operate(
    directive_id: UUID | str,
    action: str,
    signal: str,
    transition: Callable[[UUID, str], Directive],
    actor: Actor,
    reason: str,
    *,
    is_due: bool = False,
    wake_at: datetime | None = None,
    details: Mapping[str, str] | None = None,
) -> Directive:
    """Check an operation, make its transition, store its signal and wake workers, in one transaction.

    Args:
        action: what the actor needs the permission for.
        transition: gets the directive's id and name.
        is_due: whether the directive may start now; otherwise those behind it in its line may.
        wake_at: a later time at which workers should look, too.
    """
    directive_id, tenant = parse_id(directive_id), active_tenant()
    with transaction.atomic():
        check_reason(reason, required=True)
        name = Directive.objects.filter(pk=directive_id).values_list("name", flat=True).first()
        if name is None:
            raise DirectiveNotFound(f"id: this tenant has no directive {directive_id}")
        permissions.check(actor, action, name)
        directive = transition(directive_id, name)
        payload = {"reason": reason, **(details or {})}
        build = partial(lifecycle_signal, directive, signal, payload, tenant=tenant.slug, actor=actor)
        _store(directive, signal, build)
        if wake_at:
            adapter.wake(tenant, at=wake_at)
        if is_due or directive.ordering_key:
            adapter.wake(tenant)
    return directive


def _store(directive: Directive, name: str, build: Callable[..., Signal]) -> None:
    number = directive.operations[name][1]
    if bus.store([build(number=number)]):
        # While a new version is rolled out, processes of one without counters may have taken numbers.
        number = max(number, events.number_after(build()))
        transitions.count_from(directive.pk, name, number)
        bus.record([build(number=number)])
