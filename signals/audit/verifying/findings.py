"""What a verification may find: one sentence each, and the row and seal it is about."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

SHOWN = 20
"""How many findings are kept; the others are only counted."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Evidence that somebody went past the guards.

    Args:
        what: `changed`, `removed`, `inserted` or `reordered` for signals; `entries` where what a seal
            covers was touched; `seals`, `prunings` or `checkpoints` for the records about them; `clock`
            where a seal claims a time that has not come yet; `tables` where something may hide signals from
            the program, or keep new ones from being stored.
        text: the sentence for people.
        signal: the id of the signal, where it can be told.
        name: its name, where it is still there.
        seal: the number of the seal by which it is known.
        index: its place in that seal, from 0.
    """

    what: str
    text: str
    signal: str | None = None
    name: str | None = None
    seal: int | None = None
    index: int | None = None

    @property
    def row(self) -> dict[str, Any]:
        """The finding as `--format json` prints it."""
        return asdict(self)


@dataclass
class Findings:
    """The first findings, and how many there are."""

    first: list[Finding] = field(default_factory=list)
    count: int = 0

    def add(self, found: Iterable[Finding]) -> None:
        """Count findings as they come, and keep the first."""
        for finding in found:
            self.count += 1
            if len(self.first) < SHOWN:
                self.first.append(finding)
