"""Findings of a verification: a sentence each, with the signal and the seal that it is about."""

from dataclasses import dataclass

MAX_SHOWN = 20
"""Findings that are kept; the others are only counted."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Evidence that the guards were evaded.

    Args:
        what: `changed`, `removed`, `inserted` or `reordered` for signals; `personal` where personal values
            do not fit what a signal commits to; `entries` where what a seal covers was touched; `seals`,
            `prunings` or `checkpoints` for the records about them; `clock` where a seal claims a time that
            has not come yet; `tables` where something may hide signals from the program, or keep new ones
            from being stored.
        text: the sentence for people.
        signal: the id of the signal, where it is known.
        name: its name, where it is still stored.
        seal: the number of the seal that shows it.
        index: its place in that seal, from 0.
    """

    what: str
    text: str
    signal: str | None = None
    name: str | None = None
    seal: int | None = None
    index: int | None = None
