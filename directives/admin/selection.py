"""A selection of records to request a directive for, as its page shows it."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from directives import registry
from directives.display import labels
from directives.models import Directive
from directives.registry import AnyHandler
from directives.restricting.values import OF_TIMER
from signals.types import stored_subject

MAX_EXAMPLES = 10
"""How many of a selection are named on the page."""
MAX_LOOKED_AT = 500
"""For how many of a selection it is looked up whether they wait for the same already."""


def described(handler: AnyHandler, ids: Sequence[str], user: Any) -> dict[str, Any]:
    """Return what the page shows of the subjects that a user chose.

    Args:
        handler: what is to be requested for each.
        user: sees their titles with the permission to view them.

    Returns:
        `ids`; `changes`, the states that the directive would change, each with how many are in it;
        `already`, how many are in the wanted state; `unfinished`, for how many of the first few hundred the
        same directive waits or runs already; `examples`, links to the first few; `others`, how many follow.
    """
    states = Counter(registry.subject_values(handler.subject_type, ids, "status").values())
    already = states.pop(handler.becomes, 0)
    waiting = Directive.objects.filter(
        ordering_key__in=[f"{handler.subject_type}:{pk}" for pk in ids[:MAX_LOOKED_AT]],
        status__in=[Directive.Status.REQUESTED, Directive.Status.RUNNING],
        name=handler.name,
    ).exclude(OF_TIMER)
    first = [stored_subject(handler.subject_type, pk) for pk in ids[:MAX_EXAMPLES]]
    records = labels.records(user, first)
    return {
        "ids": ids,
        "changes": list(states.items()),
        "already": already,
        "unfinished": waiting.values("ordering_key").distinct().count(),
        "examples": [labels.subject_link(subject, records) for subject in first],
        "others": max(len(ids) - MAX_EXAMPLES, 0),
    }
