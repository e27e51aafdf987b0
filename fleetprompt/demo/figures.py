"""The run in numbers, counted from the signals that its directives left."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from statistics import median
from typing import NamedTuple

from directives.models import Directive
from directives.outcomes import Kind
from fleetprompt.demo.story import Story
from fleetprompt.tenants.context import in_tenant
from signals.models import Signal

_BEGINNINGS = ("directive.requested", "directive.rerun_requested")
_ENDS = ("directive.succeeded", "directive.failed")


class Figures(NamedTuple):
    """Counts by what happened, and seconds from each request or rerun to its end."""

    counts: dict[str, int]
    median: float
    longest: float


def of(story: Story) -> Figures:
    """Count what happened in this run of the demo."""
    counts: Counter[str] = Counter()
    seconds: list[float] = []
    for tenant, directives in _directives(story):
        with in_tenant(tenant):
            left = list(Signal.objects.filter(causation_id__in=[str(d.id) for d in directives]))
        counts.update(signal.name.removeprefix("directive.") for signal in left)
        seconds += _durations(left)
    counts["discarded"] = int(story.discarded.kind == Kind.DISCARDED)
    return Figures(dict(counts), median(seconds), max(seconds))


def _directives(story: Story) -> list[tuple[str, list[Directive]]]:
    harbor, orchard = story.harbor, story.orchard
    return [
        (harbor.scene.tenant, [*harbor.wave, harbor.unhide, harbor.notice, harbor.snoozed]),
        (orchard.scene.tenant, [orchard.lock, orchard.delete, story.late, story.unlock]),
    ]


def _durations(signals: Sequence[Signal]) -> list[float]:
    begun: dict[str, datetime] = {}
    seconds = []
    for signal in signals:
        if signal.name in _BEGINNINGS:
            begun[signal.causation_id] = signal.recorded_at
        elif signal.name in _ENDS:
            seconds.append((signal.recorded_at - begun[signal.causation_id]).total_seconds())
    return seconds
