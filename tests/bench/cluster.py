"""Real clusters, as production runs them, from the moment on at which their workers wait for work."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from fleetprompt.operators import clusters
from tests.support import wait_until

_READY = re.compile(rb"ready for work at (\d+)")


class Cluster(clusters.Cluster):
    """A `manage.py qcluster` whose workers can be looked at."""

    def processes(self) -> list[psutil.Process]:
        """Return all its processes that live."""
        with suppress(psutil.NoSuchProcess):
            root = psutil.Process(self.process.pid)
            return [root, *root.children(recursive=True)]
        return []

    def started(self) -> list[int]:
        """Return the ids of all workers it ever had, as its log says."""
        return [int(pid) for pid in _READY.findall(self.output())]

    def memory(self) -> dict[int, int]:
        """Return the resident bytes of each worker that lives, by process id."""
        known, held = set(self.started()), {}
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                if process.pid in known:
                    held[process.pid] = process.memory_info().rss
        return held


@contextmanager
def running(log: Path, *, workers: int = 2, **environment: str) -> Iterator[Cluster]:
    """Run a cluster for a block, and leave none of its processes behind.

    Args:
        log: where its output goes.
        environment: what its settings are to find beside this process' environment.
    """
    cluster = Cluster(log, CLUSTER_WORKERS=str(workers), **environment)
    try:
        wait_until(lambda: len(cluster.started()) >= workers, f"workers are ready, see {log}")
        yield cluster
    finally:
        clusters.stop(cluster.process, seconds=20)
