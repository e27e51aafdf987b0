"""Requesting: thousands at once, and one by one, by the system and by a person."""

import time
from collections.abc import Callable

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission

from directives.requests import request, request_many
from fleetprompt.tenants.context import in_tenant
from signals.types import Actor
from tests.bench.plan import Measurement, Row, Taken
from tests.bench.world import REQUESTER, World, hides

REQUESTS = "requests"
NAME = "forum.post.hide"


def measure_many(world: World) -> Taken:
    """Request a wave in one call; the clock stops when it is committed."""

    def ask(posts: list[str]) -> None:
        request_many(hides(posts, NAME), actor=REQUESTER, reason="spam")

    return _asking(world, world.sizes.wave, ask)


def measure_singles(world: World) -> Taken:
    """Request one by one, each in a transaction of its own, as the system."""
    return _asking(world, world.sizes.singles, lambda posts: _one_by_one(posts, REQUESTER))


def measure_singles_by_user(world: World) -> Taken:
    """The same for a person, whose permission is looked up each time."""
    world.tenant(REQUESTS)
    with in_tenant(REQUESTS):
        user, _ = get_user_model().objects.get_or_create(username="moderator")
        user.user_permissions.set(Permission.objects.filter(codename__contains="hide"))
        actor = Actor("user", str(user.pk), user.username)
    return _asking(world, world.sizes.singles, lambda posts: _one_by_one(posts, actor))


def _one_by_one(posts: list[str], actor: Actor) -> None:
    for post in posts:
        request(NAME, {"post_id": post}, actor=actor, reason="spam")


def _asking(world: World, count: int, ask: Callable[[list[str]], None]) -> Taken:
    world.activate(world.tenant(REQUESTS))
    posts = world.posts(REQUESTS, count)
    world.settle(REQUESTS)
    with in_tenant(REQUESTS):
        begin = time.perf_counter()
        ask(posts)
        seconds = time.perf_counter() - begin
    # No cluster is to find them later.
    world.suspend(REQUESTS)
    return Taken(count / seconds)


MEASUREMENTS = [
    Measurement("request_many", "`request_many`", "directives/s", measure_many),
    Measurement("request", "`request`, one by one", "directives/s", measure_singles),
    Measurement(
        "request_by_user", "`request`, one by one, by a person", "directives/s", measure_singles_by_user
    ),
]
ROWS = [
    Row("requesting", "request_many", "request_many", at_least=10_000),
    Row("requesting", "request, against INSERT transactions", "request", "inserts", at_least=0.5),
    Row("requesting", "request by a person, against the same", "request_by_user", "inserts"),
]
