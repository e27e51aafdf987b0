"""Compatibility: private parts of django-q2 and multiprocessing, so that clusters survive kills."""

import time
from multiprocessing import Value
from multiprocessing.reduction import ForkingPickler
from typing import Any

from django_q import cluster
from django_q.queues import Queue as DjangoQQueue

from directives.queueing.process_lock import ProcessLock
from fleetprompt import versions

WRITTEN_FOR = {"django-q2": ("1.11",), versions.PYTHON: ("3.11", "3.12", "3.13")}
"""The versions whose private parts this module uses."""
FULL_POLL_SECONDS = 0.001
"""Seconds between two looks whether a worker has taken what was fetched for it."""

versions.guard(__name__, WRITTEN_FOR)


class Queue(DjangoQQueue):  # type: ignore[misc]
    """The queue between the processes of a cluster, any of which may be killed at any time.

    An idle worker waits for its next task while it holds the lock. With the locks of `multiprocessing`,
    killing such a worker leaves a cluster that looks well and never takes another task.
    """

    def __init__(self, maxsize: int = 0) -> None:
        # Without a bound of its own, which would be a semaphore, too.
        super().__init__()
        self._limit = maxsize
        self._rlock, self._wlock = ProcessLock(), ProcessLock()
        self.size.count = shared_value("i", 0)

    def put(self, task: Any, *args: Any, **kwargs: Any) -> None:
        """Pass a task on, and wait until fewer than `maxsize` are left to take, unless it says stop."""
        # Not through the feeder thread of `multiprocessing`: tasks that it holds could not be seen here.
        self._sem.acquire()
        with self._wlock:
            self._writer.send_bytes(ForkingPickler.dumps(task))
        self.size.increment(1)
        while isinstance(task, dict) and self._is_full():
            time.sleep(FULL_POLL_SECONDS)

    def _is_full(self) -> bool:
        # A worker that is killed while it takes a task does not count it off.
        return 0 < self._limit <= self.qsize() and bool(self._reader.poll())


def shared_value(code: str, value: float) -> Any:
    """Return a `multiprocessing.Value` under a lock that ends with its holder."""
    return Value(code, value, lock=ProcessLock())  # type: ignore[call-overload]


def replace_shared_state() -> None:
    """Replace the queues and values of the clusters that this process starts."""
    cluster.Queue = Queue
    # Each worker's clock, which the guard reads under its lock.
    cluster.Value = shared_value
