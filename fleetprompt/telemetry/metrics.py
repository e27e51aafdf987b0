"""What is counted and measured where it happens, in every process; off unless `METRICS_FOLDER` is set.

What can be read from the database is not counted: see `exposition.add_source`.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings

from fleetprompt.telemetry import errors

SHORT = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
LONG = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 21600.0)


@dataclass(frozen=True, eq=False, slots=True)
class Measure:
    """One metric, named as Prometheus' conventions have it.

    Args:
        name: without the ending that its kind adds, such as `_total`.
        text: what it says.
        labels: what tells its series apart; their values come from the code, never from users.
        buckets: upper ends in seconds; a histogram has them, a counter has none.
    """

    name: str
    text: str
    labels: Sequence[str]
    buckets: Sequence[float] = ()

    def add(self, *labels: str, amount: float = 1) -> None:
        """Count `amount` more, or for a histogram one more thing that took so many seconds.

        Nothing that goes wrong here is the caller's problem: it is logged once.

        Args:
            labels: their values, in the order of `self.labels`.
        """
        folder = settings.METRICS_FOLDER
        if not folder:
            return
        try:
            metric = _opened(folder, os.getpid())[self]
            if metric is not None:
                series = metric.labels(*labels)
                series.observe(amount) if self.buckets else series.inc(amount)
        except Exception as error:
            errors.say_once(f"metrics: {self.name} is", error)


REQUESTED = Measure("fleetprompt_directives_requested", "Directives requested, after the commit.", ["name"])
OUTCOMES = Measure(
    "fleetprompt_directives_outcomes", "Attempts at directives by how they ended.", ["name", "outcome"]
)
EXECUTION = Measure(
    "fleetprompt_directives_execution_seconds",
    "Seconds that an attempt took, from its begin to its commit.",
    ["name"],
    SHORT,
)
WAITING = Measure(
    "fleetprompt_directives_waiting_seconds",
    "Seconds from the moment a directive was due to its claim by a worker.",
    ["name"],
    LONG,
)
LOST_LEASES = Measure(
    "fleetprompt_directives_lost_leases", "Attempts that fell silent: their leases ran out.", ["name"]
)
FAILED_WRITES = Measure(
    "fleetprompt_signals_failed_writes", "Signals of directives that could not be written.", ["name"]
)
ALL = (REQUESTED, OUTCOMES, EXECUTION, WAITING, LOST_LEASES, FAILED_WRITES)


def is_on() -> bool:
    """Return whether anything is counted."""
    return bool(settings.METRICS_FOLDER)


@lru_cache(maxsize=1)
def _opened(folder: str, pid: int) -> dict[Measure, Any]:
    """Return the metrics of this process by measure; after a fork, new ones in files of their own."""
    # Not before something is counted: most commands count nothing, and most installations.
    from prometheus_client import Counter, Histogram, values

    from fleetprompt.telemetry.folder import prepare

    try:
        word = prepare(Path(folder))
    except OSError as error:
        errors.say_once("metrics are", error)
        return dict.fromkeys(ALL)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    values.ValueClass = values.MultiProcessValue(lambda: word)
    return {
        measure: Histogram(
            measure.name, measure.text, measure.labels, buckets=measure.buckets, registry=None
        )
        if measure.buckets
        else Counter(measure.name, measure.text, measure.labels, registry=None)
        for measure in ALL
    }
