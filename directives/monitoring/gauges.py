"""Gauges of the queue and of all tenants' directives, read from the database when metrics are read.

One Prometheus may ask several machines, and they all know the same: what was read is kept for seconds.
Tenants appear by name only where something is wrong, and then at most a handful.
"""

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any

from django.core.cache import cache
from django.db import DatabaseError
from django.utils import timezone
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from directives.monitoring import stalled, statistics
from directives.queueing import clusters
from fleetprompt.postgres.bounded import Question
from fleetprompt.tenants.models import Tenant
from fleetprompt.web.limits import COUNTED

MAX_EXAMINED_TENANTS = 10
"""How many tenants are examined for the oldest directive that does not wait for another one."""

_KEY = "directives.monitoring.gauges"
_CACHE_SECONDS = 10
# Prometheus itself waits for ten seconds, unless told otherwise.
_TIMEOUT_SECONDS = 5
_GAUGES = {
    "directives_due": "Directives that are due and not started, up to 10,000 of each tenant.",
    "directives_later": "Directives that are requested for later, up to 10,000 of each tenant.",
    "directives_running": "Directives that are running, up to 10,000 of each tenant.",
    "directives_oldest_due_age_seconds": "Seconds for which the longest waiting directive could have been "
    "started; 0 when none waits.",
    "tenants_stuck": "Tenants with due directives that no worker picks up, as in the operators' overview; "
    "11 means that or more.",
    "clusters": "Clusters that have reported within the last seconds.",
    "workers": "Worker processes of these clusters.",
}


def collect() -> Iterator[Metric]:
    """Give the gauges; only `fleetprompt_database_up` when the database does not answer within seconds."""
    found = _question.ask().get(_KEY)
    yield _gauge("database_up", "Whether the database answers.", int(found is not None))
    if found is None:
        return
    for name, text in _GAUGES.items():
        if found[name] is not None:
            yield _gauge(name, text, found[name])
    yield _family("tenant_stuck", "1 for each tenant that is stuck.", "tenant", found["tenant_stuck"])
    yield _family("queue_messages", "Messages of the queue.", "state", found["queue_messages"])


def _ask() -> Iterator[tuple[str, dict[str, Any]]]:
    with suppress(DatabaseError):
        found: Any = cache.get_or_set(_KEY, _read, _CACHE_SECONDS)
        yield _KEY, found


_question = Question("gauges", _ask, seconds=_TIMEOUT_SECONDS)


def _read() -> dict[str, Any]:
    active = Tenant.objects.filter(status=Tenant.Status.ACTIVE).order_by("slug")
    slugs = dict(active.values_list("schema_name", "slug"))
    now = timezone.now()
    found = {slugs[schema]: one for schema, one in statistics.count(slugs, COUNTED).items()}
    earliest = {slug: time for slug, one in found.items() if (time := one.earliest()) and time <= now}
    oldest = _oldest(earliest)
    stuck = stalled.stuck_tenants()
    state = clusters.state()
    messages = {"waiting": state.waiting, "later": state.later}
    answers = not state.error
    return {
        "directives_due": sum(one.due for one in found.values()),
        "directives_later": sum(one.later for one in found.values()),
        "directives_running": sum(one.running for one in found.values()),
        "directives_oldest_due_age_seconds": max((now - oldest).total_seconds(), 0) if oldest else 0,
        "tenants_stuck": len(stuck),
        "tenant_stuck": dict.fromkeys(stuck, 1),
        "clusters": len(state.clusters) if answers else None,
        "workers": sum(len(cluster.workers) for cluster in state.clusters) if answers else None,
        "queue_messages": {name: number for name, number in messages.items() if number is not None},
    }


def _oldest(earliest: dict[str, datetime]) -> datetime | None:
    """Return since when the longest waiting directive of all tenants could be started.

    It gets a time of each tenant with anything due that is not after that of its oldest.
    """
    best: datetime | None = None
    for slug in sorted(earliest, key=lambda slug: earliest[slug])[:MAX_EXAMINED_TENANTS]:
        if best is not None and earliest[slug] >= best:
            break
        best = min(filter(None, (best, statistics.oldest_due_in(slug))), default=None)
    return best


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"fleetprompt_{name}", text, value=value)


def _family(name: str, text: str, label: str, values: dict[str, int]) -> Metric:
    family = GaugeMetricFamily(f"fleetprompt_{name}", text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
