"""The records that somebody chose to request a directive for."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from directives import display, subjects
from directives.registry import AnyHandler
from signals.types import Subject

EXAMPLES = 10
"""How many of a selection are named on the page."""


@dataclass(frozen=True)
class Selection:
    """The subjects that somebody chose, and the states they are in.

    Args:
        handler: what is to be requested for each.
        ids: the subjects' ids.
    """

    handler: AnyHandler
    ids: Sequence[str]
    states: Counter[str] = field(init=False)

    def __post_init__(self) -> None:
        found = subjects.states(self.handler.subject_type, self.ids)
        object.__setattr__(self, "states", Counter(found.values()))

    @property
    def noun(self) -> str:
        """What one of them is called, or several."""
        model: Any = subjects.model(self.handler.subject_type)
        return str(model._meta.verbose_name if len(self.ids) == 1 else model._meta.verbose_name_plural)

    @property
    def changes(self) -> list[tuple[str, int]]:
        """The states in which the directive would change something, each with how many are in it."""
        return [(state, number) for state, number in self.states.items() if state != self.handler.becomes]

    @property
    def already(self) -> int:
        """How many are in the wanted state already."""
        return self.states[self.handler.becomes]

    @property
    def examples(self) -> list[str]:
        """Links to the first few."""
        chosen = [Subject(self.handler.subject_type, pk) for pk in self.ids[:EXAMPLES]]
        records = subjects.find(chosen)
        return [display.subject_link(subject, records) for subject in chosen]

    @property
    def others(self) -> int:
        """How many are not among the examples."""
        return max(len(self.ids) - EXAMPLES, 0)
