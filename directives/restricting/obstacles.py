"""Sentences about what is in the way of a change of restrictions."""

from uuid import UUID

from directives.models import Directive, Restriction
from directives.restricting.values import Active, State


def described(one: Active) -> str:
    """Return what a restriction is, who set it, when and why, for an error."""
    reason = Directive.objects.filter(pk=one.directive_id).values_list("reason", flat=True).first()
    why = f": {reason}" if reason else ""
    return f"{one.kind}, by {one.actor} on {one.since:%Y-%m-%d at %H:%M} UTC{why}"


def nothing_to_lift(state: State, status: str) -> str:
    """Return what a subject is instead of what a directive lifts: who restricted it, when and why."""
    if state.active:
        return f"{state.subject} is {'; '.join(map(described, state.active))}"
    return f"{state.subject} is {status}: there is nothing to lift"


def not_active(state: State, pk: UUID) -> str:
    """Return why a subject has no such active restriction."""
    known = Restriction.objects.filter(pk=pk).first()
    if known is None or known.subject != state.subject:
        return f"restriction_id: {state.subject} has no restriction {pk}"
    ended = known.ended_by and Directive.objects.filter(pk=known.ended_by).first()
    who = f" by {ended.actor} ({ended.name})" if ended else ""
    return f"restriction_id: {pk} ended on {known.ended_at:%Y-%m-%d at %H:%M} UTC{who}"
