"""A selection of records to request a directive for, as its page shows it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from directives import registry
from directives.display import labels
from directives.models import Directive
from directives.registry import AnyHandler
from signals.types import stored_subject

MAX_EXAMPLES = 10
"""How many of a selection are named on the page."""
MAX_LOOKED_AT = 500
"""For how many of a selection it is looked up whether they wait for the same already."""


@dataclass
class Selection:
    """The subjects that a user chose.

    Args:
        handler: what is to be requested for each.
        ids: the subjects' ids.
        user: chose them, and sees their titles with the permission to view them.
    """

    handler: AnyHandler
    ids: Sequence[str]
    user: Any

    @cached_property
    def states(self) -> Counter[str]:
        """How many of them are in each state."""
        return Counter(registry.subject_values(self.handler.subject_type, self.ids, "status").values())

    @property
    def title(self) -> str:
        """What is to be done, such as `Hide 20 posts`."""
        return labels.counted_label(self.handler.name, len(self.ids))

    @property
    def changes(self) -> list[tuple[str, int]]:
        """The states in which the directive would change something, each with how many are in it."""
        return [(state, number) for state, number in self.states.items() if state != self.handler.becomes]

    @property
    def already(self) -> int:
        """How many are in the wanted state already."""
        return self.states[self.handler.becomes]

    @property
    def unfinished(self) -> int:
        """For how many of the first few hundred the same directive waits or runs already."""
        lines = [f"{self.handler.subject_type}:{pk}" for pk in self.ids[:MAX_LOOKED_AT]]
        waiting = Directive.objects.filter(
            ordering_key__in=lines,
            status__in=[Directive.Status.REQUESTED, Directive.Status.RUNNING],
            name=self.handler.name,
        )
        return waiting.values("ordering_key").distinct().count()

    @property
    def examples(self) -> list[str]:
        """Links to the first few."""
        chosen = [
            subject
            for pk in self.ids[:MAX_EXAMPLES]
            if (subject := stored_subject(self.handler.subject_type, pk))
        ]
        records = labels.records(self.user, chosen)
        return [labels.subject_link(subject, records) for subject in chosen]

    @property
    def others(self) -> int:
        """How many are not among the examples."""
        return max(len(self.ids) - MAX_EXAMPLES, 0)
