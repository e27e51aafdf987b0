"""What happened to a directive or a subject, in order, as people read it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from signals.models import Signal

_SHOWN_ELSEWHERE = ("name", "attempt")


@dataclass(frozen=True, slots=True)
class Entry:
    """One signal in a timeline.

    Args:
        signal: the signal.
        since: how long after the entry before it; None for the first one.
    """

    signal: Signal
    since: timedelta | None

    @property
    def attempt(self) -> int | None:
        """The attempt that it tells of; None outside attempts."""
        attempt = self.signal.payload.get("attempt")
        return attempt if isinstance(attempt, int) and attempt > 0 else None

    @property
    def details(self) -> list[tuple[str, Any]]:
        """What else the signal says, by name; empty values are left out."""
        return [
            (key.replace("_", " "), value)
            for key, value in self.signal.payload.items()
            if key not in _SHOWN_ELSEWHERE and value not in ("", None, {}, [])
        ]


def timeline(signals: Iterable[Signal]) -> list[Entry]:
    """Return the signals, oldest first, each with the time since the one before it."""
    entries: list[Entry] = []
    for signal in sorted(signals, key=lambda signal: (signal.recorded_at, signal.pk)):
        before = entries[-1].signal.recorded_at if entries else None
        entries.append(Entry(signal, signal.recorded_at - before if before else None))
    return entries
