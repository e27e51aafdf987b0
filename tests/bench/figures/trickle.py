"""A trickle: another process requests one by one, as fast as it can, while a cluster drains."""

import time

from tests.bench import clock, requester
from tests.bench.figures.plain_tasks import PLAIN, hidden_at
from tests.bench.plan import Measurement, Row, Taken
from tests.bench.world import World

TRICKLE = "trickle"


def measure(world: World) -> Taken:
    """Trickle directives."""
    return _trickle(world, TRICKLE, plain=False)


def measure_plain(world: World) -> Taken:
    """Trickle plain tasks that do the same job."""
    return _trickle(world, PLAIN, plain=True)


def _trickle(world: World, slug: str, *, plain: bool) -> Taken:
    posts = world.posts(slug, world.sizes.trickle)
    world.settle(slug)
    with world.cluster(BENCH_PLAIN="1" if plain else ""):
        asked = requester.answer(requester.start(slug, posts, plain=plain))
        asking = time.time() - asked["began"]
        wait_until_hidden(world, slug, posts)
    seconds = hidden_at(world, slug, posts).timestamp() - asked["began"]
    # Whether the one who asks or those who do is the limit.
    return Taken(len(posts) / seconds, series={"asked_per_second": len(posts) / asking})


def wait_until_hidden(world: World, slug: str, posts: list[str], seconds: float = 300) -> None:
    """Return when all the posts are hidden.

    Raises:
        Unsound: some are not after `seconds`.
    """
    deadline = time.monotonic() + seconds
    left = list(posts)
    while left:
        shown = "SELECT id::text FROM forums_post WHERE status <> 'hidden' AND id = ANY(%s::uuid[])"
        left = [post for [post] in world.execute_in(slug, shown, left)]
        if left and time.monotonic() > deadline:
            raise clock.Unsound(f"{len(left)} of {len(posts)} posts are not hidden after {seconds} s")
        time.sleep(0.1 if left else 0)


MEASUREMENTS = [
    Measurement("trickle", "a trickle of hides", "directives/s", measure),
    Measurement(
        "plain_trickle", "plain django-q2, tuned: a trickle of the same job", "tasks/s", measure_plain
    ),
]
ROWS = [Row("trickle", "trickle, against plain tasks", "trickle", "plain_trickle", at_least=1.5)]
