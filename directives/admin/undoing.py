"""Conditions for undoing a directive: an inverse, and a subject that is as the directive left it."""

from collections.abc import Sequence
from typing import Any

from directives import registry
from directives.display import labels
from directives.models import Directive
from signals.types import as_object


def inverse_of(directive: Directive) -> str | None:
    """Return the name of the directive that undoes this one; None when it had no effect to undo."""
    had_effect = as_object(directive.result).get("changed") is not False
    if directive.status != Directive.Status.SUCCEEDED or not directive.subject_id or not had_effect:
        return None
    return _inverse_name(directive)


def problem(directive: Directive | None, name: str, subject_ids: Sequence[str], attempt: str | None) -> str:
    """Return why a request does not undo what the person saw who asked for it; empty when it does.

    Args:
        directive: the one to undo.
        name: the directive that is to undo it.
        subject_ids: what that is to be about.
        attempt: the attempt of `directive` that the person saw; None where no page showed one.
    """
    if directive is None:
        return "cause: there is no such directive here"
    if list(subject_ids) != [directive.subject_id] or _inverse_name(directive) != name:
        return f"cause: expected a directive about this subject that {name} undoes"
    label = labels.label(directive.name)
    has_ended = directive.status in Directive.TERMINAL
    if not has_ended or (attempt is not None and attempt != str(directive.attempt)):
        changed = f"was rerun since this page was made, and is {directive.status} now"
        return f"cause: “{label}” {changed}; look at it before you undo it"
    if inverse_of(directive) is None:
        return f"cause: “{label}” is {directive.status} and changed nothing that could be undone"
    if is_outdated(directive):
        latest = _latest_change(directive)
        who = f"“{labels.label(latest.name)}” ({latest.actor})" if latest else "somebody else"
        return f"cause: this was changed since by {who}; nothing is undone"
    return ""


def expectation(directive: Directive) -> dict[str, Any]:
    """Return what the payload of an undoing directive expects of its subject, if anything is known."""
    revision = as_object(directive.result).get("revision")
    return {"expected_revision": revision} if type(revision) is int else {}


def is_outdated(directive: Directive) -> bool:
    """Return whether the subject has changed since, so that undoing would undo something else too."""
    wanted = expectation(directive).get("expected_revision")
    if wanted is None:
        # The subject has no revision; what other directives did to it is known all the same.
        return _latest_change(directive) is not None
    found = registry.subject_values(directive.subject_type, [directive.subject_id], "revision")
    return bool(found.get(directive.subject_id) != wanted)


def _inverse_name(directive: Directive) -> str | None:
    handler = registry.find(directive.name)
    return handler.inverse if handler else None


def _latest_change(directive: Directive) -> Directive | None:
    later = Directive.objects.filter(
        subject_type=directive.subject_type,
        subject_id=directive.subject_id,
        status=Directive.Status.SUCCEEDED,
        completed_at__gt=directive.completed_at,
    )
    return later.exclude(result__changed=False).order_by("-completed_at").first()
