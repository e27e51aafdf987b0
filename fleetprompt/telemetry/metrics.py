"""Counters and histograms of every process; off unless `METRICS_FOLDER` is set.

Metrics that can be read from the database are not counted here: see `exposition.add_source`.
"""

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from django.conf import settings

from fleetprompt.telemetry import compat, errors

logger = logging.getLogger(__name__)

CHECK_SECONDS = 5.0
"""How often a process checks that its files exist."""
_SHORT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_LONG_BUCKETS = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 21600.0)


@dataclass(frozen=True, eq=False, slots=True)
class Measure:
    """One metric, named by Prometheus' conventions.

    Args:
        name: without the suffix of its kind, such as `_total`.
        text: the description.
        labels: names of the labels; their values come from the code, never from users.
        buckets: upper bounds in seconds of a histogram; empty for a counter.
    """

    name: str
    text: str
    labels: Sequence[str]
    buckets: Sequence[float] = ()

    def add(self, *labels: str, amount: float = 1) -> None:
        """Add `amount` to a counter, or one observation of `amount` seconds to a histogram.

        Errors are logged once and not raised.

        Args:
            labels: their values, in the order of `self.labels`.
        """
        folder = settings.METRICS_FOLDER
        if not folder:
            return
        try:
            if metric := _opened(folder, os.getpid()).metric(self):
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
    "Seconds of an attempt, from its begin to its commit.",
    ["name"],
    _SHORT_BUCKETS,
)
WAITING = Measure(
    "fleetprompt_directives_waiting_seconds",
    "Seconds from the time at which a directive was due to its claim.",
    ["name"],
    _LONG_BUCKETS,
)
LOST_LEASES = Measure("fleetprompt_directives_lost_leases", "Attempts whose lease expired.", ["name"])
FAILED_WRITES = Measure(
    "fleetprompt_signals_failed_writes", "Signals of directives that could not be written.", ["name"]
)
ALL = (REQUESTED, OUTCOMES, EXECUTION, WAITING, LOST_LEASES, FAILED_WRITES)


def is_on() -> bool:
    """Return whether metrics are on."""
    return bool(settings.METRICS_FOLDER)


class _Files:
    """The metrics of one process and their files, which are made again after a removal."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._check_at = 0.0
        self._open()

    def metric(self, measure: Measure) -> Any:
        """Return the metric of a measure; None when the files cannot be made."""
        if time.monotonic() >= self._check_at:
            # A removed file stays mapped: it would be written, and never read.
            if any(not path.exists() for path in self._paths):
                logger.warning(
                    "metrics: the files of this process in %s were removed; it counts from zero again",
                    self._folder,
                )
                self._open()
            self._check_at = time.monotonic() + CHECK_SECONDS
        return self._metrics.get(measure)

    def _open(self) -> None:
        """Make the files, or none after an error, and the metrics by measure."""
        # Imported late: most commands and most installations count nothing.
        from prometheus_client import Counter, Histogram

        from fleetprompt.telemetry.folder import prepare

        self._paths: list[Path] = []
        self._metrics: dict[Measure, Any] = {}
        try:
            word, self._paths = prepare(self._folder)
        except OSError as error:
            errors.say_once("metrics are", error)
            return
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(self._folder)
        compat.name_process_files(word)
        for one in ALL:
            kind = partial(Histogram, buckets=one.buckets) if one.buckets else Counter
            self._metrics[one] = kind(one.name, one.text, one.labels, registry=None)


@lru_cache(maxsize=1)
def _opened(folder: str, pid: int) -> _Files:
    """Return the metrics of this process; a fork gets new ones."""
    return _Files(Path(folder))
