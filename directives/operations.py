"""What people do with a directive that exists: snooze, run now, cancel, rerun; with actor and reason."""

from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from directives import registry
from directives.authority import permissions
from directives.errors import DirectiveNotFound, Refused
from directives.executing.retry import RetryPolicy
from directives.lifecycle import events, transitions
from directives.models import Directive
from directives.queueing import adapter
from directives.requesting.validation import check_reason
from fleetprompt.postgres.primary_keys import parse_uuid
from fleetprompt.tenants.context import active_tenant
from signals import bus
from signals.types import Actor, check_moment


def snooze(directive_id: UUID | str, until: datetime, *, actor: Actor, reason: str) -> Directive:
    """Put a requested directive off; it costs no attempt, and later ones on its subject may pass it.

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
    directive_id = parse_id(directive_id)
    check_moment("until", until)
    if until <= timezone.now():
        raise Refused(f"until: expected a time in the future; got {until.isoformat()}")
    with transaction.atomic():
        _check(directive_id, actor, "snooze", reason)
        directive = transitions.snooze(directive_id, until)
        _record(directive, "directive.snoozed", actor, reason, until=until.isoformat())
        adapter.wake(active_tenant(), at=until)
        if directive.ordering_key:
            adapter.wake(active_tenant())
    return directive


def run_now(directive_id: UUID | str, *, actor: Actor, reason: str) -> Directive:
    """Make a requested directive due now; a worker then runs it as soon as its line allows.

    Args and returns as for `snooze`; users need the permission to snooze, since both move its time.

    Raises:
        Refused: naming the argument, the permission or the status that does not allow it.
    """
    directive_id = parse_id(directive_id)
    with transaction.atomic():
        _check(directive_id, actor, "snooze", reason)
        directive = transitions.run_now(directive_id)
        _record(directive, "directive.run_requested", actor, reason)
        adapter.wake(active_tenant())
    return directive


def cancel(directive_id: UUID | str, *, actor: Actor, reason: str) -> Directive:
    """End a requested directive that has not run; a rerun can bring it back.

    Args and returns as for `snooze`; users need the permission to cancel.

    Raises:
        Refused: naming the argument, the permission or the status that does not allow it.
    """
    directive_id = parse_id(directive_id)
    with transaction.atomic():
        _check(directive_id, actor, "cancel", reason)
        directive = transitions.cancel(directive_id)
        _record(directive, "directive.canceled", actor, reason)
        if directive.ordering_key:
            adapter.wake(active_tenant())
    return directive


def rerun(directive_id: UUID | str, *, actor: Actor, reason: str) -> Directive:
    """Have a directive that ended run once more, at the end of its line, with its attempts counted on.

    Args and returns as for `snooze`; users need the permission to rerun.

    Raises:
        Refused: naming the argument, the permission or the status that does not allow it.
    """
    directive_id = parse_id(directive_id)
    with transaction.atomic():
        handler = registry.find(_check(directive_id, actor, "rerun", reason))
        policy = handler.retry if handler else RetryPolicy()
        directive = transitions.rerun(directive_id, policy.max_attempts)
        _record(directive, "directive.rerun_requested", actor, reason)
        adapter.wake(active_tenant())
    return directive


def parse_id(value: UUID | str) -> UUID:
    """Return `value` as a UUID.

    Raises:
        Refused: it is none.
    """
    if pk := parse_uuid(value):
        return pk
    raise Refused(f"id: expected a UUID; got {str(value)[:80]!r}")


def _check(directive_id: UUID, actor: Actor, action: str, reason: str) -> str:
    """Check what does not depend on the status; return the directive's name."""
    active_tenant()
    check_reason(reason, required=True)
    name = Directive.objects.filter(pk=directive_id).values_list("name", flat=True).first()
    if name is None:
        raise DirectiveNotFound(f"id: this tenant has no directive {directive_id}")
    permissions.check(actor, action, name)
    return name


def _record(directive: Directive, name: str, actor: Actor, reason: str, **payload: Any) -> None:
    fact = partial(
        events.fact,
        directive,
        name,
        {"reason": reason, **payload},
        tenant=active_tenant().slug,
        actor=actor,
    )
    number = directive.operations[name][1]
    if bus.store([fact(number=number)]):
        # While a new version is rolled out, processes of one without counters may have taken numbers.
        number = max(number, events.number_after(fact()))
        transitions.count_from(directive.pk, name, number)
        bus.record([fact(number=number)])
