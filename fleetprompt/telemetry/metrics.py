"""What is counted and measured where it happens, in every process; off unless `METRICS_FOLDER` is set.

What can be read from the database is not counted: see `exposition.add_source`.
"""

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.conf import settings

from fleetprompt.telemetry import compat, errors

logger = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
"""How often a process that counts looks whether its files are still there."""
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
            metric = _opened(folder, os.getpid()).metric(self)
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


class _Files:
    """The metrics of one process, and the files in which they are kept, made anew when they are removed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._look_at = 0.0
        self._open()

    def metric(self, measure: Measure) -> Any:
        """Return what counts a measure; None where nothing can."""
        if time.monotonic() >= self._look_at:
            # What is mapped goes on without a name: it would be counted, and never read.
            if any(not path.exists() for path in self._paths):
                logger.warning(
                    "metrics: the files of this process in %s were removed; it counts from zero again",
                    self._folder,
                )
                self._open()
            self._look_at = time.monotonic() + LOOK_SECONDS
        return self._metrics[measure]

    def _open(self) -> None:
        self._paths, self._metrics = _make(self._folder)
        self._look_at = time.monotonic() + LOOK_SECONDS


@lru_cache(maxsize=1)
def _opened(folder: str, pid: int) -> _Files:
    """Return the metrics of this process; after a fork, new ones in files of their own."""
    return _Files(Path(folder))


def _make(folder: Path) -> tuple[list[Path], dict[Measure, Any]]:
    """Make a process' files; return them, none when there can be none, and the metrics by measure."""
    # Not before something is counted: most commands count nothing, and most installations.
    from prometheus_client import Counter, Histogram

    from fleetprompt.telemetry.folder import prepare

    try:
        word, paths = prepare(folder)
    except OSError as error:
        errors.say_once("metrics are", error)
        return [], dict.fromkeys(ALL)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    compat.name_process_files(word)
    metrics = {
        measure: Histogram(
            measure.name, measure.text, measure.labels, buckets=measure.buckets, registry=None
        )
        if measure.buckets
        else Counter(measure.name, measure.text, measure.labels, registry=None)
        for measure in ALL
    }
    return paths, metrics
