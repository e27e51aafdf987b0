"""Obstacles to a change of restrictions: sentences, and the error that quotes reasons."""

from collections.abc import Sequence
from uuid import UUID

from directives.errors import DirectiveError
from directives.models import Directive, Restriction
from directives.restricting.values import Active, State
from signals.types import Subject

QUOTE = " UTC: "
"""What stands before a reason in an error that quotes it."""


def restricted(state: State, by: Sequence[Active]) -> DirectiveError:
    """Return the error that says by what a subject is restricted: who set it, when and why."""
    causes = Directive.objects.only("personal").in_bulk([one.directive_id for one in by])
    error = DirectiveError(
        f"{state.subject} is {'; '.join(_described(one, causes.get(one.directive_id)) for one in by)}"
    )
    error.quoted = [pk for pk, cause in causes.items() if cause.personal]
    return error


def _described(one: Active, cause: Directive | None) -> str:
    why = f"{QUOTE}{cause.reason}" if cause and cause.reason else " UTC"
    return f"{one.kind}, by {one.actor} on {one.since:%Y-%m-%d at %H:%M}{why}"


def nothing_to_lift(state: State, status: str) -> DirectiveError:
    """Return the error that says what a subject is instead of what a directive lifts."""
    if state.active:
        return restricted(state, state.active)
    return DirectiveError(f"{state.subject} is {status}: there is nothing to lift")


def missing(subject_type: str, pk: object) -> DirectiveError:
    """Return the error that says that a subject does not exist."""
    return DirectiveError(f"{subject_type}: there is no {pk} in this tenant")


def changed_meanwhile(subject: Subject, revision: int, expected: int) -> DirectiveError:
    """Return the error that says that a subject is at another revision than the requester looked at."""
    return DirectiveError(
        f"expected_revision: {subject} is at revision {revision}, "
        f"not {expected}: it changed since it was looked at"
    )


def not_active(state: State, pk: UUID) -> str:
    """Return why a subject has no such active restriction."""
    known = Restriction.objects.filter(pk=pk).first()
    if known is None or known.subject != state.subject:
        return f"restriction_id: {state.subject} has no restriction {pk}"
    ended = known.ended_by and Directive.objects.filter(pk=known.ended_by).first()
    who = f" by {ended.actor} ({ended.name})" if ended else ""
    return f"restriction_id: {pk} ended on {known.ended_at:%Y-%m-%d at %H:%M} UTC{who}"
