"""Samples the system every few seconds during a load."""

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import psutil

from tests.bench.cluster import Cluster
from tests.bench.figures.latency import percentile
from tests.bench.world import World, schema

HOT = ("directives_directive", "forums_post", "django_q_ormq")
_DONE = """
SELECT extract(epoch FROM completed_at - queued_at)::float * 1000 FROM {schema}.directives_directive
WHERE status IN ('succeeded', 'failed') AND completed_at >= to_timestamp({begin})
AND completed_at < to_timestamp({end})
"""
_WAITING = """
SELECT count(*) FROM {schema}.directives_directive
WHERE status = 'running' OR (status = 'requested' AND scheduled_at <= now())
"""
_DEAD = """
SELECT coalesce(100.0 * sum(n_dead_tup) / nullif(sum(n_dead_tup + n_live_tup), 0), 0)::float
FROM pg_stat_user_tables WHERE relname = ANY(%s)
"""
_ROW_BYTES = """
SELECT (sum(pg_total_relation_size(relid)) / greatest(sum(n_live_tup), 1))::float
FROM pg_stat_user_tables WHERE relname = 'directives_directive'
"""


class Watch:
    """Looks at the tenants, the server and the clusters' processes."""

    def __init__(self, world: World, slugs: Sequence[str], clusters: Sequence[Cluster]) -> None:
        self.world, self.slugs, self.clusters = world, slugs, clusters
        self.began = self._looked_at = time.time()

    def look(self) -> dict[str, Any]:
        """Return what has happened since the last look, and how things stand.

        Times to done end with the transaction's begin, as `completed_at` does; they count from when a
        directive took its place, so that reruns and snoozes begin anew.
        """
        # A transaction that began before the end may commit after this look: leave it to the next one.
        begin, end = self._looked_at, time.time() - 2
        self._looked_at = end
        delays = [delay for [delay] in self._everywhere(_DONE, begin=begin, end=end)]
        execute = self.world.execute
        return {
            "seconds": round(time.time() - self.began, 1),
            "per_second": round(len(delays) / (end - begin), 1),
            **{f"p{percent}": round(percentile(delays or [0], percent), 1) for percent in (50, 95, 99)},
            "waiting": sum(count for [count] in self._everywhere(_WAITING)),
            "dead_percent": round(execute(_DEAD, list(HOT))[0][0], 2),
            "bytes_per_directive": round(execute(_ROW_BYTES)[0][0]),
            "queue_kib": execute("SELECT pg_total_relation_size('public.django_q_ormq')")[0][0] // 1024,
            "connections": execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            )[0][0],
            **self._memory(),
        }

    def _everywhere(self, query: str, **values: Any) -> list[tuple[Any, ...]]:
        parts = [query.format(schema=schema(slug), **values) for slug in self.slugs]
        return self.world.execute(" UNION ALL ".join(parts))

    def _memory(self) -> dict[str, float]:
        """Return the MiB of the largest worker, and of the largest process that is no worker."""
        workers = [held for cluster in self.clusters for held in cluster.memory().values()]
        known = {pid for cluster in self.clusters for pid in cluster.started()}
        others = [0]
        for cluster in self.clusters:
            for process in cluster.processes():
                with suppress(psutil.NoSuchProcess):
                    if process.pid not in known:
                        others.append(process.memory_info().rss)
        return {
            "worker_mib": round(max(workers, default=0) / 2**20, 1),
            "other_mib": round(max(others) / 2**20, 1),
        }
