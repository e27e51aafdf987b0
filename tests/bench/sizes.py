"""Sizes of the measurements: full ones for the targets, small ones to try the benchmark."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Sizes:
    """How many of each; times are in seconds."""

    wave: int = 5_000
    trickle: int = 3_000
    singles: int = 1_000
    """Single requests, and single-row transactions."""
    latency: int = 200
    fairness_due: int = 50_000
    fairness_seconds: int = 30
    tenants: int = 1_000
    backlog_directives: int = 1_000_000
    backlog_signals: int = 3_000_000
    sleeps: int = 3_000
    memory_first: int = 10_000
    memory_last: int = 100_000
    new_tenants: int = 20


FULL = Sizes()
QUICK = replace(
    FULL,
    wave=500,
    trickle=300,
    singles=200,
    latency=10,
    fairness_due=1_000,
    fairness_seconds=5,
    tenants=5,
    backlog_directives=10_000,
    backlog_signals=30_000,
    sleeps=400,
    memory_first=500,
    memory_last=2_000,
    new_tenants=2,
)
