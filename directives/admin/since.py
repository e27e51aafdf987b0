"""Changes since a page was drawn: the revisions that its form carries, and what came after them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from directives import registry
from directives.authority import permissions
from directives.models import DUE, Directive, in_state
from signals.types import Subject, stored_subject

MAX_SUBJECTS = 10
"""Of how many changed subjects the changes are named."""
MAX_CHANGES = 5
"""How many of a subject's changes are named."""


class Change(NamedTuple):
    """A subject that is not as the page showed it, and the directives that changed it, newest first."""

    subject: Subject | None
    directives: Sequence[Directive]


def drawn(subject_type: str, ids: Sequence[str]) -> str:
    """Return the revisions of subjects for a form, in the order of their ids.

    It is empty for a subject without one, and for one about which a directive is due: what is requested
    now counts after that, and expects what that leaves.
    """
    revisions = registry.subject_values(subject_type, ids, "revision")
    if not revisions:
        return ""
    keys = {f"{subject_type}:{pk}": pk for pk in ids}
    unfinished = Directive.objects.filter(
        in_state(DUE) | in_state(Directive.Status.RUNNING), ordering_key__in=keys
    )
    busy = {keys[key] for key in unfinished.values_list("ordering_key", flat=True)}
    return ",".join("" if pk in busy else str(revisions.get(pk, "")) for pk in ids)


def changes(user: Any, subject_type: str, ids: Sequence[str], seen: Mapping[str, int]) -> list[Change]:
    """Return what changed the first of some subjects since; no directives to who may not view them."""
    may_view = permissions.may_view(user, Directive)
    return [
        Change(
            stored_subject(subject_type, pk), list(_later(subject_type, pk, seen[pk])) if may_view else []
        )
        for pk in ids[:MAX_SUBJECTS]
    ]


def _later(subject_type: str, pk: str, revision: int) -> Any:
    later = Directive.objects.filter(
        subject_type=subject_type,
        subject_id=pk,
        status=Directive.Status.SUCCEEDED,
        result__revision__gt=revision,
    )
    return later.order_by("-completed_at", "-id")[:MAX_CHANGES]
