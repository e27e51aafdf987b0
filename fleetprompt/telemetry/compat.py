"""Compatibility: private parts of OpenTelemetry, prometheus-client and multiprocessing."""

from collections.abc import Callable
from multiprocessing.util import Finalize
from typing import Any

from fleetprompt import versions

WRITTEN_FOR = {
    "opentelemetry-sdk": ("1.45",),
    "prometheus-client": ("0.22", "0.23", "0.24", "0.25", "0.26"),
    versions.PYTHON: ("3.11", "3.12", "3.13"),
}
"""The versions whose private parts this module uses."""

versions.guard(__name__, WRITTEN_FOR)


def span_processor(exporter: Any, *, shutdown_seconds: float) -> Any:
    """Return a batch processor of spans whose shutdown waits for the collector at most so long.

    The public shutdown waits for half a minute when the collector is down.
    """
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    class Processor(BatchSpanProcessor):
        def shutdown(self) -> None:
            self._batch_processor.shutdown(timeout_millis=int(shutdown_seconds * 1000))

    return Processor(exporter)


def at_process_end(function: Callable[[], object]) -> None:
    """Call a function when this process ends; `atexit` does not see the end of a cluster's worker."""
    Finalize(None, function, exitpriority=0)


def name_process_files(word: str) -> None:
    """Name the files of this process' metrics with a word instead of its id."""
    from prometheus_client import values

    values.ValueClass = values.MultiProcessValue(lambda: word)
