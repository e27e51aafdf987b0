"""Waves: thousands of hides requested at once in one tenant, drained by a real cluster."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

from django_q.tasks import async_task

from directives import registry
from directives.queueing import clusters
from directives.requests import request_many
from fleetprompt.tenants.context import in_tenant
from tests.bench import clock
from tests.bench.figures.plain_tasks import hidden_at
from tests.bench.plan import Measurement, Row, Taken
from tests.bench.world import REQUESTER, World, hides

WAVE = "wave"
SINGLY, TOGETHER = "bench.post.hide", "forum.post.hide"
_SIGNALS = "SELECT name, count(*) FROM signals_signal WHERE correlation_id = %s GROUP BY name"
_LIFE = ("directive.requested", "directive.started", "directive.succeeded")


def measure_singly(world: World) -> Taken:
    """Drain a wave with a handler that has a plain `execute` only."""
    return drain(world, WAVE, SINGLY)


def measure_together(world: World) -> Taken:
    """Drain a wave with a handler that executes many at once."""
    return drain(world, WAVE, TOGETHER)


def measure_sealed(world: World) -> Taken:
    """Drain a wave that comes just when a worker has begun to seal all tenants' signals."""
    return drain(world, WAVE, SINGLY, first=lambda: async_task(clusters.SCHEDULED[clusters.SEAL]))


def drain(world: World, slug: str, name: str, first: Callable[[], Any] = lambda: None) -> Taken:
    """Have a cluster that waits for work drain a wave; the clock runs from its commit to the last one's.

    Args:
        name: the directive, which hides a post.
        first: is called just before the wave is requested.
    """
    posts = world.posts(slug, world.sizes.wave)
    world.settle(slug)
    batch = str(uuid4())
    with world.cluster():
        first()
        with in_tenant(slug):
            request_many(hides(posts, name), actor=REQUESTER, reason="spam", correlation_id=batch)
        clock.wait_until_drained(world, [slug])
    end = clock.ended_at(world, [slug], batch, len(posts))
    check(world, slug, batch, posts, name)
    return Taken(clock.rate(len(posts), clock.requested_at(world, slug, batch), end))


def check(world: World, slug: str, batch: str, posts: list[str], name: str) -> None:
    """Check that every post is hidden and that every directive left its four signals.

    Raises:
        Unsound: something is missing.
    """
    hidden_at(world, slug, posts)
    wanted = dict.fromkeys([*_LIFE, registry.get(name).signal], len(posts))
    if (found := dict(world.execute_in(slug, _SIGNALS, batch))) != wanted:
        raise clock.Unsound(f"signals: expected {wanted}; found {found}")


def _cannot_together() -> str:
    singly, together = (
        getattr(type(registry.get(name)), "execute_many", None) for name in (SINGLY, TOGETHER)
    )
    return f"{TOGETHER} has no execute_many of its own" if together is singly else ""


MEASUREMENTS = [
    Measurement("wave", "a wave of hides, each by `execute`", "directives/s", measure_singly),
    Measurement("wave_sealed", "the same while a worker seals all tenants", "directives/s", measure_sealed),
    Measurement(
        "wave_many",
        "a wave of hides, by `execute_many`",
        "directives/s",
        measure_together,
        needs=_cannot_together,
    ),
]
ROWS = [
    Row("wave", "wave, against the floor", "wave", "floor", at_least=1.0),
    Row("wave", "wave, against plain tasks", "wave", "plain_hide", at_least=2.5),
    Row("wave", "wave, against plain tasks that do nothing", "wave", "plain_noop"),
    Row("wave", "wave while a worker seals, against one without", "wave_sealed", "wave"),
    Row("wave_many", "wave by execute_many, against the floor", "wave_many", "floor", at_least=2.5),
]
