"""What it takes to undo a directive: an inverse, and a subject that is as the directive left it."""

from typing import Any

from directives import registry, subjects
from directives.models import Directive


def inverse_of(directive: Directive) -> str | None:
    """Return the name of the directive that undoes this one; None when it had no effect to undo."""
    handler = registry.find(directive.name)
    had_effect = (directive.result or {}).get("changed") is not False
    if handler is None or not directive.subject_id or not had_effect:
        return None
    return handler.inverse if directive.status == Directive.Status.SUCCEEDED else None


def expectation(directive: Directive) -> dict[str, Any]:
    """Return what the payload of an undoing directive expects of its subject, if anything is known."""
    revision = (directive.result or {}).get("revision")
    return {"expected_revision": revision} if isinstance(revision, int) else {}


def is_outdated(directive: Directive) -> bool:
    """Return whether the subject has changed since, so that undoing would undo something else too."""
    wanted = expectation(directive).get("expected_revision")
    found = subjects.revisions(directive.subject_type, [directive.subject_id])
    return wanted is not None and found.get(directive.subject_id) != wanted
