"""The benchmark as an app: its handlers are discovered; plain django-q2 gets its own queues back."""

import multiprocessing

from django.apps import AppConfig
from django.conf import settings


class BenchConfig(AppConfig):
    """Django's view of the app; its tables are those of migrations that the benchmark makes up."""

    name = "tests.bench"
    label = "bench"

    def ready(self) -> None:
        """Give django-q2 its own queue and locks back where it is measured without the project's."""
        if settings.BENCH_PLAIN:
            from django_q import cluster, queues

            cluster.Queue = queues.Queue
            cluster.Value = multiprocessing.Value
