"""The queue adapter: the only module that knows django-q2. It carries wake-ups, never the truth."""

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from multiprocessing import Value
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django_q import cluster
from django_q.brokers import get_broker
from django_q.brokers.orm import ORM
from django_q.conf import Conf
from django_q.models import Failure, OrmQ, Schedule
from django_q.queues import Queue
from django_q.status import Stat
from django_q.tasks import async_task
from redis import RedisError

from directives import registry
from directives.kernel_lock import KernelLock
from fleetprompt.counts import COUNTED
from fleetprompt.tenants.context import is_public
from fleetprompt.tenants.models import Tenant

SWEEP = "directives: sweep"
SEAL = "signals: seal"
SCHEDULED = {SWEEP: "directives.tasks.sweep", SEAL: "directives.tasks.seal"}
"""What django-q2 calls every minute, by the names of the schedules."""
ABSORBED = 500
"""How many waiting messages a turn looks at, so that a long queue does not make turns long."""


class _Queue(Queue):  # type: ignore[misc]
    """The queue between the processes of a cluster, with locks that a killed process gives back.

    An idle worker waits for its next task with the lock in hand. With the locks of `multiprocessing`
    one that is killed then leaves a cluster that looks well and never takes another task.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._rlock, self._wlock = KernelLock(), KernelLock()
        self.size.count = _shared("i", 0)


def _shared(code: str, value: float) -> Any:
    return Value(code, value, lock=KernelLock())  # type: ignore[call-overload]


def survive_kills() -> None:
    """Have the clusters that this process starts go on working when any of their processes is killed."""
    cluster.Queue = _Queue
    # Each worker's clock, which the guard reads under its lock.
    cluster.Value = _shared


class _Delayed(ORM):  # type: ignore[misc]
    """PostgreSQL's broker, for messages that no worker sees before `at`, stored by `flush`."""

    def __init__(self) -> None:
        super().__init__()
        self.at = timezone.now()
        self.messages: list[Any] = []

    def enqueue(self, task: str) -> int:
        """Keep the message, under a lock that ends at `at`."""
        self.messages.append(OrmQ(key=self.list_key, payload=task, lock=self.at))
        return len(self.messages)

    def flush(self) -> None:
        """Store the messages in the caller's transaction."""
        OrmQ.objects.bulk_create(self.messages, batch_size=1000)


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
    if Conf.ORM:
        with transaction.atomic():
            broker = _Delayed()
            for broker.at in (max(at, now) for at in times):
                _send(tenant.slug, broker)
            broker.flush()
    elif any(at <= now for at in times):
        transaction.on_commit(lambda: _send(tenant.slug, get_broker()), robust=True)


def absorb(slug: str) -> None:
    """Take the wake-ups of a tenant that wait in PostgreSQL's queue out of it, before its turn begins.

    Each of them was committed with its directives, so the claim that follows sees all these; the turn
    stands for every one. Without this, thousands of single requests would put as many turns of
    their tenant before the next tenant's.
    """
    if not Conf.ORM:
        return
    now = timezone.now()
    waiting = OrmQ.objects.filter(key=Conf.CLUSTER_NAME, lock__lte=now)
    mine = [message.pk for message in waiting.order_by("pk")[:ABSORBED] if message.name() == _name(slug)]
    # One that the cluster takes meanwhile is locked by then, and stays.
    OrmQ.objects.filter(pk__in=mine, lock__lte=now).delete()


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
    now = timezone.now()
    waiting = OrmQ.objects.filter(key=Conf.CLUSTER_NAME, lock__lte=now).order_by("pk")
    locks = waiting.values_list("lock", flat=True)[:ABSORBED]
    return min(locks, default=None)


def ping() -> None:
    """Ask the broker whether it is there.

    Raises:
        RedisError: it does not answer.
        DatabaseError: PostgreSQL is the broker, and does not answer.
    """
    get_broker().ping()


def clusters() -> list[Any]:
    """Return django-q2's own reports of the clusters that were alive within the last seconds."""
    return sorted(Stat.get_all(get_broker()), key=lambda cluster: (cluster.host, cluster.pid))


@dataclass
class State:
    """How the queue and its clusters fare. A count above `COUNTED` means "more than that"."""

    clusters: list[Any] = field(default_factory=list)
    """django-q2's own reports: host, pid, status, workers, tob (when it started)."""
    waiting: int | None = None
    later: int | None = None
    """Messages for a later time, and those that workers have taken; None where the broker has none."""
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
            now = timezone.now()
            found.waiting, found.later = _count(lock__lte=now), _count(lock__gt=now)
        else:
            found.waiting = get_broker().queue_size()
    except RedisError as error:
        found.error = str(error)
    return found


def _count(**lock: datetime) -> int:
    messages = OrmQ.objects.filter(key=Conf.CLUSTER_NAME, **lock).order_by("pk")
    return int(messages.values("pk")[: COUNTED + 1].count())


def _send(slug: str, broker: Any) -> None:
    async_task(
        "directives.tasks.work",
        slug,
        q_options={
            "task_name": _name(slug),
            "group": "directives",
            "timeout": longest_turn(),
            "broker": broker,
        },
    )


def _name(slug: str) -> str:
    return f"wake {slug}"


def longest_turn() -> int:
    """Return the seconds after which a worker must be stuck: every handler ends by its own limit."""
    longest = max((handler.timeout for handler in registry.handlers()), default=0)
    return math.ceil(settings.DIRECTIVES_TURN + settings.DIRECTIVES_BATCH * (longest + 1) + 60)
