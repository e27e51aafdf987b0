"""From the commit of a request to the commit of its effect, on a system that has nothing else to do."""

import math
from collections.abc import Sequence

from tests.bench import requester
from tests.bench.figures.plain_tasks import PLAIN
from tests.bench.figures.trickle import wait_until_hidden
from tests.bench.plan import Measurement, Row, Taken
from tests.bench.world import World

LATENCY = "latency"
PAUSE = (0.05, 0.3)
_DELAYS = """
SELECT 1000 * extract(epoch FROM
    pg_xact_commit_timestamp(forums_post.xmin) - pg_xact_commit_timestamp(asked.xid::xid8::xid))::float
FROM unnest(%s::uuid[], %s::text[]) WITH ORDINALITY AS asked (post, xid, number)
JOIN forums_post ON forums_post.id = asked.post ORDER BY asked.number
"""


def measure(world: World) -> Taken:
    """Ask for directives with pauses of any length between, so that no rhythm of polling is met."""
    return _latency(world, LATENCY, plain=False)


def measure_plain(world: World) -> Taken:
    """Ask for plain tasks in the same way."""
    return _latency(world, PLAIN, plain=True)


def _latency(world: World, slug: str, *, plain: bool) -> Taken:
    posts = world.posts(slug, world.sizes.latency + 1)
    world.settle(slug)
    with world.cluster(BENCH_PLAIN="1" if plain else ""):
        process = requester.start(slug, posts, plain=plain, pause=PAUSE, seed=world.round)
        xids = requester.answer(process)["xids"]
        wait_until_hidden(world, slug, posts)
    # The first one has imports and connections to wait for.
    return summary(delays(world, slug, posts, xids)[1:])


def delays(world: World, slug: str, posts: Sequence[str], xids: Sequence[str]) -> list[float]:
    """Return the milliseconds between the transactions that asked and those that hid the posts."""
    return [delay for [delay] in world.execute_in(slug, _DELAYS, list(posts), list(xids))]


def summary(found: Sequence[float]) -> Taken:
    """Return the median of delays with the percentiles beside it."""
    others = {f"p{percent}": percentile(found, percent) for percent in (95, 99)}
    return Taken(percentile(found, 50), others, {"delays": [round(delay, 2) for delay in found]})


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that `percent` of all do not exceed."""
    return sorted(values)[max(math.ceil(len(values) * percent / 100) - 1, 0)]


MEASUREMENTS = [
    Measurement("latency", "request to effect, idle system", "ms", measure),
    Measurement(
        "plain_latency", "plain django-q2: task to effect, idle system", "ms", measure_plain, once=True
    ),
]
ROWS = [
    Row("latency", "latency on an idle system, p50", "latency", at_most=10),
    Row("latency", "latency on an idle system, p95", "latency.p95", at_most=25),
    Row("latency", "latency on an idle system, p99", "latency.p99"),
    Row("latency", "latency of plain django-q2, p50", "plain_latency"),
    Row("latency", "latency of plain django-q2, p95", "plain_latency.p95"),
]
