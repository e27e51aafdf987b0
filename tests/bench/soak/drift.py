"""Compares the last third of a load with the first."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Any

FEWEST = 6
"""Samples that a verdict needs."""


@dataclass(frozen=True)
class Limit:
    """How far the last third may be from the first one.

    Args:
        name: of the value in a sample.
        what: for people.
        times: it may grow to so many times the first, or, when below 1, shrink to that part of it.
        beside: and by so much beside that, in the value's own unit, so that small values may flicker.
        average: what stands for a third; waves make a mean of what is done in a second, not a median.
    """

    name: str
    what: str
    times: float
    beside: float = 0.0
    average: Callable[[Sequence[float]], float] = median

    def allows(self, first: float, last: float) -> bool:
        """Return whether `last` is near enough to `first`."""
        bound = first * self.times
        return last >= bound - self.beside if self.times < 1 else last <= bound + self.beside


LIMITS = (
    Limit("per_second", "directives a second", 0.8, average=mean),
    Limit("p50", "ms to done, p50", 1.5, 10),
    Limit("p95", "ms to done, p95", 1.5, 100),
    Limit("waiting", "directives that wait", 2, 100),
    Limit("dead_percent", "dead rows, %", 1.5, 15),
    Limit("bytes_per_directive", "bytes for each directive", 1.2, 200),
    Limit("queue_kib", "KiB of the queue's table", 1.5, 1024),
    Limit("connections", "connections", 1, 2),
    Limit("worker_mib", "MiB of the largest worker", 1.1),
    Limit("other_mib", "MiB of the largest other process", 1.1),
)


@dataclass(frozen=True)
class Verdict:
    """What one value did between the first third and the last one."""

    what: str
    first: float
    last: float
    allowed: str
    drifted: bool


def judge(samples: Sequence[Mapping[str, Any]]) -> list[Verdict]:
    """Compare the thirds, the first sample aside, in which everything starts.

    Raises:
        ValueError: fewer samples than a verdict needs.
    """
    if len(samples) < FEWEST:
        raise ValueError(f"{len(samples)} samples are too few for a verdict; it needs {FEWEST}")
    settled = samples[1:]
    third = len(settled) // 3
    return [_judge(limit, settled[:third], settled[-third:]) for limit in LIMITS]


def _judge(limit: Limit, early: Sequence[Mapping[str, Any]], late: Sequence[Mapping[str, Any]]) -> Verdict:
    first, last = (limit.average([sample[limit.name] for sample in third]) for third in (early, late))
    allowed = f"{'≥' if limit.times < 1 else '≤'} {limit.times:g} ×"
    if limit.beside:
        allowed += f" {'−' if limit.times < 1 else '+'} {limit.beside:g}"
    return Verdict(limit.what, first, last, allowed, not limit.allows(first, last))
