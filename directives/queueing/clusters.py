"""Clusters of django-q2: their schedules, messages and reports, and what keeps them alive."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from django.db.models import Min, QuerySet
from django.db.models.functions import Now
from django.utils import timezone
from django_q.brokers import get_broker
from django_q.conf import Conf
from django_q.models import Failure, OrmQ, Schedule
from django_q.signals import pre_execute
from django_q.status import Stat

from directives.queueing import adapter, broker, compat
from fleetprompt.tenants.context import active_tenant, is_public, return_to, return_to_public
from fleetprompt.web.limits import COUNTED

SWEEP = "directives: sweep"
SEAL = "signals: seal"
BROKER = f"{broker.__name__}.{broker.Broker.__name__}"
"""PostgreSQL's broker, as Q_CLUSTER names it."""
SCHEDULED = {SWEEP: broker.SWEEP, SEAL: "directives.tasks.seal"}
"""What django-q2 calls every minute, by the names of the schedules."""
ABANDONED_AGE = timedelta(hours=1)
"""How long one of our messages may wait for clusters of another name before it is removed."""
_MAX_REMOVED = 1_000
"""How many of them are removed at once."""


def redis_error() -> type[Exception]:
    """Return what Redis raises when it does not answer.

    Its library is imported here, when an exception is looked at: it would be a fifth of each process'
    start, and PostgreSQL's broker needs nothing of it.
    """
    from redis import RedisError

    return RedisError


def survive_kills() -> None:
    """Have the clusters that this process starts go on working when any of their processes is killed."""
    compat.replace_shared_state()
    pre_execute.connect(_tell_apart)


def _tell_apart(task: dict[str, Any], **kwargs: Any) -> None:
    """Give a time slice that begins an id and a start of its own: many come from one message."""
    if task["func"] == adapter.WORK:
        task["id"], task["started"] = uuid4().hex, timezone.now()


def schedule(sender: Any, **kwargs: Any) -> None:
    """Have django-q2 sweep and seal every minute (on `post_migrate` of the public schema)."""
    if sender.label == "django_q" and is_public():
        for name, function in SCHEDULED.items():
            each_minute = {"schedule_type": Schedule.MINUTES, "minutes": 1, "repeats": -1}
            Schedule.objects.get_or_create(name=name, defaults={"func": function, **each_minute})


def scheduled(name: str) -> dict[str, Any] | None:
    """Return `func`, `next_run`, `repeats` and `cluster` of `SWEEP` or `SEAL`; None when it is missing."""
    fields = ("func", "next_run", "repeats", "cluster")
    found: dict[str, Any] | None = Schedule.objects.filter(name=name).values(*fields).first()
    return found


def waiting_since() -> datetime | None:
    """Return since when the longest waiting wake-up of PostgreSQL's broker could be taken."""
    if not Conf.ORM:
        return None
    waiting = broker.messages(Conf.CLUSTER_NAME).filter(lock__lte=Now())
    since: datetime | None = waiting.aggregate(since=Min("lock"))["since"]
    return since


def for_others(waiting: timedelta) -> QuerySet[Any]:
    """Return PostgreSQL's messages that no cluster of this name takes, and could be taken for so long.

    That is what is left after a change of CLUSTER_NAME, or when Redis became the broker.
    """
    found: QuerySet[Any] = OrmQ.objects.filter(lock__lte=Now() - waiting)
    return found.exclude(pk__in=broker.messages(Conf.CLUSTER_NAME).values("pk")) if Conf.ORM else found


def remove_abandoned() -> int:
    """Remove what has waited for `ABANDONED_AGE` for clusters of another name; return how many messages.

    A wake-up carries no truth, and sweeps come each minute. What is not signed with this SECRET_KEY, or
    calls something else, may be other people's work, and stays.
    """
    ours = {adapter.WORK, *SCHEDULED.values()}
    found = [message.pk for message in for_others(ABANDONED_AGE)[:_MAX_REMOVED] if message.func() in ours]
    if found:
        OrmQ.objects.filter(pk__in=found).delete()
    return len(found)


def ping() -> None:
    """Check that the broker answers; it raises a `RedisError` or a `DatabaseError` if it does not."""
    get_broker().ping()


def unready_broker() -> str:
    """Return why wake-ups cannot be sent; nothing when they can."""
    try:
        ping()
    except (redis_error(), OSError):
        return "the broker does not answer"
    return ""


def unready_clusters() -> str:
    """Return why directives would not be executed; nothing when a cluster is alive."""
    try:
        return "" if clusters() else "no cluster was seen lately"
    except (redis_error(), OSError):
        return "the broker does not answer"


def clusters() -> list[Any]:
    """Return django-q2's own reports of the clusters that were alive within the last seconds.

    It raises what `ping` raises.
    """
    return sorted(Stat.get_all(get_broker()), key=lambda cluster: (cluster.host, cluster.pid))


def has_cluster() -> bool:
    """Return whether a cluster was alive within the last seconds, or the broker cannot tell."""
    # Their reports stand in the cache, whose keys carry the schema.
    tenant = None if is_public() else active_tenant()
    return_to_public()
    try:
        return bool(clusters())
    except redis_error():
        return True
    finally:
        if tenant:
            return_to(tenant)


@dataclass
class State:
    """State of the queue and its clusters. A count above `COUNTED` means "more than that"."""

    clusters: list[Any] = field(default_factory=list)
    """django-q2's own reports: host, pid, status, workers, tob (when it started)."""
    waiting: int | None = None
    later: int | None = None
    """Messages for a later time; None where the broker has none."""
    next_sweep: datetime | None = None
    failures: list[Any] = field(default_factory=list)
    """The ten messages that failed last, the newest first."""
    error: str = ""
    """Why the broker cannot be asked, if so."""


def state() -> State:
    """Return the state of the queue, without changing it."""
    found = State(
        failures=list(Failure.objects.order_by("-stopped")[:10]),
        next_sweep=Schedule.objects.filter(name=SWEEP).values_list("next_run", flat=True).first(),
    )
    try:
        found.clusters = clusters()
        if Conf.ORM:
            found.waiting, found.later = _count(lock__lte=Now()), _count(lock__gt=Now())
        else:
            found.waiting = get_broker().queue_size()
    except redis_error() as error:
        found.error = str(error)
    return found


def _count(**lock: Now) -> int:
    return broker.messages(Conf.CLUSTER_NAME).filter(**lock).values("pk")[: COUNTED + 1].count()
