"""Checks that clusters are alive, and that the queue moves."""

import time
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core import checks
from django.utils import timezone

from directives.queueing import clusters as queue
from fleetprompt.health.checkup import Findings, Tenants, database
from fleetprompt.web.limits import COUNTED

LATE_AFTER = timedelta(minutes=3)
"""What is scheduled comes every minute and a half at the latest."""
HEARTBEAT_TIMEOUT_SECONDS = 5.0
"""Seconds without a sign of life: django-q2 keeps one for three, which a busy machine may exceed."""
MAX_WAITING = 1_000
"""Wake-ups of one tenant are taken together: so many mean as many tenants, or no worker that takes them."""


@database("the broker answers")
def broker(tenants: Tenants) -> Findings:
    """Without it no worker is woken."""
    try:
        queue.ping()
    except queue.redis_error() as error:
        yield checks.Error(
            f"the broker does not answer: {error}",
            hint="Start Redis, or mend BROKER_URL.",
            id="directives.E020",
        )


@database("a cluster is alive")
def clusters(tenants: Tenants) -> Findings:
    """A cluster that is alive says so every second or oftener."""
    until = time.monotonic() + HEARTBEAT_TIMEOUT_SECONDS
    while (alive := _alive()) == [] and time.monotonic() < until:
        time.sleep(0.25)
    if alive == []:
        yield checks.Error(
            f"no cluster of {settings.Q_CLUSTER['name']!r} is alive: nothing is executed",
            hint="Start one: `manage.py cluster`, with the same DATABASE_URL, SECRET_KEY and CLUSTER_NAME.",
            id="directives.E021",
        )
    for cluster in alive or []:
        if not cluster.workers or cluster.status not in ("Starting", "Working", "Idle"):
            yield checks.Warning(
                f"the cluster on {cluster.host} (process {cluster.pid}) is {str(cluster.status).lower()} "
                f"with {len(cluster.workers)} workers",
                hint="Look at its log; restart it when it stays so.",
                id="directives.W020",
            )


@database("the sweep is scheduled and comes by")
def sweep(tenants: Tenants) -> Findings:
    """Lost wake-ups, and what dead workers held, are found by the sweep alone."""
    return _scheduled(queue.SWEEP, "the sweep", "lost wake-ups are never made up for", number=22)


@database("sealing is scheduled and comes by")
def sealing(tenants: Tenants) -> Findings:
    """Without it, only `audit seal` seals."""
    return _scheduled(queue.SEAL, "sealing", "signals are not sealed", number=25)


@database("wake-ups are taken")
def backlog(tenants: Tenants) -> Findings:
    """What waits in the queue for long waits for a worker."""
    waiting = queue.state().waiting or 0
    since = queue.waiting_since()
    if waiting > MAX_WAITING or (since and _since(since) > LATE_AFTER):
        many = f"more than {COUNTED}" if waiting > COUNTED else str(waiting)
        longest = f", the first since {since:%Y-%m-%d %H:%M:%S %Z}" if since else ""
        yield checks.Warning(
            f"{many} wake-ups wait{longest}",
            hint="Start more clusters, or raise CLUSTER_WORKERS.",
            id="directives.W021",
        )


@database("no message waits for clusters of another name")
def abandoned(tenants: Tenants) -> Findings:
    """After a change of CLUSTER_NAME, or of the broker, no cluster takes what was sent before it."""
    waiting = queue.for_others(LATE_AFTER).order_by("lock").values_list("key", "lock")[:COUNTED]
    if names := sorted({key.partition(":")[0] for key, _ in waiting}):
        yield checks.Warning(
            f"{len(waiting)} messages wait for clusters that are named {', '.join(names)} and use "
            f"PostgreSQL as their broker, the first since {waiting[0][1]:%Y-%m-%d %H:%M:%S %Z}",
            hint="Start a cluster with that CLUSTER_NAME, if there should be one. If not, nothing is lost: "
            "the sweep wakes all tenants, and removes such wake-ups when they are an hour old. What stays "
            "longer calls something else, or was signed with another SECRET_KEY: `DELETE FROM "
            "public.django_q_ormq WHERE key = 'NAME' OR key LIKE 'NAME:%'` removes it.",
            id="directives.W023",
        )


@database("no wake-up failed within a day")
def failures(tenants: Tenants) -> Findings:
    """A time slice that failed is a fault of the program or the database, not of a directive."""
    day = timedelta(days=1)
    failed = [failure for failure in queue.state().failures if _since(failure.stopped) < day]
    if failed:
        newest = failed[0]
        text = str(newest.result or "").strip().splitlines() or ["no reason was told"]
        yield checks.Warning(
            f"{len(failed)} of the last ten failed wake-ups are from within a day; the latest is "
            f"{newest.name}: {text[0][:200]}",
            hint="See `Failed tasks` in the operators' admin and the clusters' logs.",
            id="directives.W022",
        )


def _scheduled(name: str, what: str, otherwise: str, *, number: int) -> Findings:
    """Give what is wrong with the queue's schedule for `what`; the three ids begin with `number`."""
    schedule, cluster = queue.scheduled(name), settings.Q_CLUSTER["name"]
    if schedule is None:
        yield checks.Error(
            f"{what} is not scheduled: {otherwise}",
            hint="Run `manage.py migrate_schemas`, which schedules it.",
            id=f"directives.E0{number}",
        )
    elif (
        schedule["func"] != queue.SCHEDULED[name]
        or schedule["repeats"] >= 0
        or schedule["cluster"] not in (None, cluster)
    ):
        yield checks.Error(
            f"the schedule {name!r} was changed: it calls {schedule['func']} for the cluster "
            f"{schedule['cluster'] or cluster}, {schedule['repeats']} more times (-1: for good)",
            hint="Delete the schedule and run `manage.py migrate_schemas`, which makes it again.",
            id=f"directives.E0{number + 1}",
        )
    else:
        late = _since(schedule["next_run"])
        # Only a cluster that has been alive for so long must have come by.
        if late > LATE_AFTER and any(_since(cluster.tob) > LATE_AFTER for cluster in _alive() or []):
            yield checks.Error(
                f"{what} was due {late.total_seconds() / 60:.0f} minutes ago, and clusters are alive",
                hint="Look at the clusters' logs, and restart them.",
                id=f"directives.E0{number + 2}",
            )


def _alive() -> list[Any] | None:
    """Return the clusters that are alive; None when the broker, which would know, does not answer."""
    try:
        return queue.clusters()
    except queue.redis_error():
        return None


def _since(moment: datetime) -> timedelta:
    return timezone.now() - moment
