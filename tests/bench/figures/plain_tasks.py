"""Plain django-q2, tuned: tasks that do nothing, and tasks that hide a post."""

import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.utils import timezone
from django_q.brokers.orm import ORM
from django_q.models import OrmQ
from django_q.tasks import async_task

from tests.bench import clock
from tests.bench.plan import Measurement, Row, Taken
from tests.bench.world import World, schema

PLAIN = "plain"
_HIDDEN = """
SELECT count(*), max(pg_xact_commit_timestamp(xmin)) FROM forums_post
WHERE status = 'hidden' AND id = ANY(%s::uuid[])
"""


class _Held(ORM):  # type: ignore[misc]
    """Keeps messages instead of storing them."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[OrmQ] = []

    def enqueue(self, task: str) -> int:
        self.messages.append(OrmQ(key=self.list_key, payload=task))
        return len(self.messages)


def measure_noop(world: World) -> Taken:
    """Have a cluster run tasks that do nothing."""
    messages = _messages(("tests.bench.plain.noop", ()) for _ in range(world.sizes.wave))
    world.settle()
    with world.cluster(BENCH_PLAIN="1"):
        begin = _release(messages)
        _wait_until_taken(world)
        end = time.time()
    return Taken(world.sizes.wave / (end - begin))


def measure_hide(world: World) -> Taken:
    """Have a cluster hide posts, a task for each."""
    posts = world.posts(PLAIN, world.sizes.wave)
    messages = _messages(("tests.bench.plain.hide", (schema(PLAIN), post)) for post in posts)
    world.settle(PLAIN)
    with world.cluster(BENCH_PLAIN="1"):
        begin = _release(messages)
        _wait_until_taken(world)
    return Taken(len(posts) / (hidden_at(world, PLAIN, posts).timestamp() - begin))


def hidden_at(world: World, slug: str, posts: list[str]) -> datetime:
    """Return when the last of the posts was committed as hidden.

    Raises:
        Unsound: not all of them are.
    """
    [(count, end)] = world.execute_in(slug, _HIDDEN, posts)
    if count != len(posts):
        raise clock.Unsound(f"{count} of {len(posts)} posts are hidden")
    return end


def _messages(tasks: Iterable[tuple[str, tuple[Any, ...]]]) -> list[OrmQ]:
    broker = _Held()
    for function, arguments in tasks:
        async_task(function, *arguments, q_options={"broker": broker})
    return broker.messages


def _release(messages: list[OrmQ]) -> float:
    """Store the messages in one transaction; return when, in seconds since the epoch."""
    now = timezone.now()
    for message in messages:
        message.lock = now
    OrmQ.objects.bulk_create(messages)
    return time.time()


def _wait_until_taken(world: World, seconds: float = 900) -> None:
    deadline = time.monotonic() + seconds
    while world.execute("SELECT EXISTS (SELECT FROM public.django_q_ormq)")[0][0]:
        if time.monotonic() > deadline:
            raise clock.Unsound(f"plain tasks still wait after {seconds} s")
        time.sleep(0.05)


MEASUREMENTS = [
    Measurement("plain_noop", "plain django-q2, tuned: tasks that do nothing", "tasks/s", measure_noop),
    Measurement("plain_hide", "plain django-q2, tuned: the same job as a task", "tasks/s", measure_hide),
]
# Yardsticks have no target.
ROWS: list[Row] = []
