"""The queue adapter: it and `directives.queueing.broker` alone know django-q2. Wake-ups carry no truth."""

import math
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from multiprocessing import Value
from multiprocessing.reduction import ForkingPickler
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.db import transaction
from django.db.models import Min, QuerySet
from django.db.models.functions import Now
from django.utils import timezone
from django_q import cluster
from django_q.brokers import Broker, get_broker
from django_q.conf import Conf
from django_q.models import Failure, OrmQ, Schedule
from django_q.queues import Queue
from django_q.signals import pre_execute
from django_q.status import Stat
from django_q.tasks import async_task
from redis import RedisError

from directives import registry
from directives.queueing import broker, notifier
from directives.queueing.process_lock import ProcessLock
from fleetprompt.tenants.context import active_tenant, is_public, return_to, return_to_public
from fleetprompt.tenants.models import Tenant
from fleetprompt.web.limits import COUNTED

SWEEP = "directives: sweep"
SEAL = "signals: seal"
BROKER = f"{broker.__name__}.{broker.Broker.__name__}"
"""PostgreSQL's broker, as Q_CLUSTER names it."""
SCHEDULED = {SWEEP: broker.SWEEP, SEAL: "directives.tasks.seal"}
"""What django-q2 calls every minute, by the names of the schedules."""
_WORK = "directives.tasks.work"
ABANDONED = timedelta(hours=1)
"""For how long one of our messages may wait for clusters of another name before it is removed."""
_PORTION = 1_000
"""How many of them are removed at once."""
PAUSE = 0.001
"""Seconds between two looks whether a worker has taken what was fetched for it."""


class _Queue(Queue):  # type: ignore[misc]
    """The queue between the processes of a cluster, of which any may be killed at any time.

    An idle worker waits for its next task with the lock in hand. With the locks of `multiprocessing`
    one that is killed then leaves a cluster that looks well and never takes another task.
    """

    def __init__(self, maxsize: int = 0) -> None:
        # Without a bound of its own: that is a semaphore, too.
        super().__init__()
        self._limit = maxsize
        self._rlock, self._wlock = ProcessLock(), ProcessLock()
        self.size.count = _shared("i", 0)

    def put(self, task: Any, *args: Any, **kwargs: Any) -> None:
        """Pass a task on, and wait until fewer than `maxsize` are left to take, unless it says stop."""
        # Not through the thread that `multiprocessing` has for it: what it holds could not be seen here.
        self._sem.acquire()
        with self._wlock:
            self._writer.send_bytes(ForkingPickler.dumps(task))
        self.size.increment(1)
        while isinstance(task, dict) and self._is_full():
            time.sleep(PAUSE)

    def _is_full(self) -> bool:
        # A worker that is killed as it takes a task does not count it off.
        return 0 < self._limit <= self.qsize() and bool(self._reader.poll())


def _shared(code: str, value: float) -> Any:
    return Value(code, value, lock=ProcessLock())  # type: ignore[call-overload]


def survive_kills() -> None:
    """Have the clusters that this process starts go on working when any of their processes is killed."""
    cluster.Queue = _Queue
    # Each worker's clock, which the guard reads under its lock.
    cluster.Value = _shared
    pre_execute.connect(_tell_apart)


class _Draft(Broker):  # type: ignore[misc]
    """Keeps the message that django-q2 makes of a task, instead of sending it."""

    payload = ""

    def enqueue(self, task: str) -> int:
        """Keep the message."""
        self.payload = task
        return 0


def wake(tenant: Tenant, *, at: datetime | None = None, after: float | None = None) -> None:
    """Send "this tenant has due directives", with the caller's transaction.

    PostgreSQL's broker stores the message in that transaction, and shows it to workers at its time.
    Another broker gets it on commit and cannot wait, so what is due later is left to the sweep.

    Args:
        at: when workers should see it; now by default.
        after: the same in seconds from now.
    """
    now = timezone.now()
    wake_at(tenant, [now + timedelta(seconds=after) if after is not None else at or now])


def wake_at(tenant: Tenant, times: Collection[datetime]) -> None:
    """Send a wake-up for each of `times`, in a constant number of statements; see `wake`."""
    now = timezone.now()
    moments = [at if at > now else None for at in times]
    if Conf.ORM:
        broker.store(Conf.CLUSTER_NAME, _message(tenant.slug), moments, tenant=tenant.slug)
    elif None in moments:
        _send_on_commit(tenant)


def _send_on_commit(tenant: Tenant) -> None:
    message = _message(tenant.slug)
    transaction.on_commit(lambda: get_broker().enqueue(message), robust=True)


def message_for(tenant: str) -> dict[str, str]:
    """Return the parameters of `broker.insertion` for a wake-up; nothing with another broker.

    Args:
        tenant: its slug.
    """
    if not Conf.ORM:
        return {}
    return {"wake_key": broker.key(Conf.CLUSTER_NAME, tenant), "wake_payload": _message(tenant)}


def announce(tenant: Tenant) -> None:
    """Wake workers on commit for what is due now and was stored with `message_for`."""
    if Conf.ORM:
        notifier.notify_on_commit(Conf.CLUSTER_NAME)
    else:
        _send_on_commit(tenant)


@lru_cache(maxsize=1024)
def _message(slug: str) -> str:
    """Return a tenant's wake-up, made and signed by django-q2."""
    draft = _Draft()
    async_task(
        _WORK,
        slug,
        q_options={
            "task_name": f"wake {slug}",
            "group": "directives",
            "timeout": longest_time_slice(),
            "broker": draft,
        },
    )
    return draft.payload


def _tell_apart(task: dict[str, Any], **kwargs: Any) -> None:
    """Give a turn that begins an id and a start of its own: many come from one message."""
    if task["func"] == _WORK:
        task["id"], task["started"] = uuid4().hex, timezone.now()


def schedule(sender: Any, using: str = "default", **kwargs: Any) -> None:
    """Have django-q2 sweep and seal every minute (on `post_migrate` of the public schema)."""
    if sender.label == "django_q" and is_public():
        for name, function in SCHEDULED.items():
            Schedule.objects.using(using).get_or_create(
                name=name,
                defaults={
                    "func": function,
                    "schedule_type": Schedule.MINUTES,
                    "minutes": 1,
                    "repeats": -1,
                },
            )


def scheduled(name: str) -> dict[str, Any] | None:
    """Return a schedule's `func`, `next_run`, `repeats` and `cluster`; None when there is none.

    Args:
        name: `SWEEP` or `SEAL`.
    """
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
    """Remove what has waited for `ABANDONED` for clusters of another name; return how many messages.

    A wake-up carries no truth, and sweeps come each minute. What is not signed with this SECRET_KEY, or
    calls something else, may be somebody's work, and stays.
    """
    ours = {_WORK, *SCHEDULED.values()}
    found = [message.pk for message in for_others(ABANDONED)[:_PORTION] if message.func() in ours]
    if found:
        OrmQ.objects.filter(pk__in=found).delete()
    return len(found)


def ping() -> None:
    """Ask the broker whether it is there.

    Raises:
        RedisError: it does not answer.
        DatabaseError: PostgreSQL is the broker, and does not answer.
    """
    get_broker().ping()


def unready_broker() -> str:
    """Return why wake-ups cannot be sent; nothing when they can.

    Raises:
        DatabaseError: PostgreSQL is the broker, and does not answer.
    """
    try:
        ping()
    except (RedisError, OSError):
        return "the broker does not answer"
    return ""


def unready_clusters() -> str:
    """Return why directives would not be executed; nothing when a cluster is alive.

    Raises:
        DatabaseError: PostgreSQL is the broker, and does not answer.
    """
    try:
        return "" if clusters() else "no cluster was seen lately"
    except (RedisError, OSError):
        return "the broker does not answer"


def clusters() -> list[Any]:
    """Return django-q2's own reports of the clusters that were alive within the last seconds."""
    return sorted(Stat.get_all(get_broker()), key=lambda cluster: (cluster.host, cluster.pid))


def has_cluster() -> bool:
    """Return whether a cluster was alive within the last seconds, or the broker cannot tell."""
    # Their reports stand in the cache, whose keys carry the schema.
    tenant = None if is_public() else active_tenant()
    return_to_public()
    try:
        return bool(clusters())
    except RedisError:
        return True
    finally:
        if tenant:
            return_to(tenant)


@dataclass
class State:
    """How the queue and its clusters fare. A count above `COUNTED` means "more than that"."""

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
    """Return what can be told about the queue without touching it."""
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
    except RedisError as error:
        found.error = str(error)
    return found


def _count(**lock: Now) -> int:
    return broker.messages(Conf.CLUSTER_NAME).filter(**lock).values("pk")[: COUNTED + 1].count()


def longest_time_slice() -> int:
    """Return the seconds after which a worker must be stuck: every handler ends by its own limit."""
    longest = max((handler.timeout for handler in registry.handlers()), default=0)
    return math.ceil(
        settings.DIRECTIVES_TIME_SLICE_SECONDS + settings.DIRECTIVES_CLAIM_LIMIT * (longest + 1) + 60
    )
