"""Two clusters against one, with handlers that leave the processor alone."""

from contextlib import ExitStack
from uuid import uuid4

from directives.requests import request_many
from fleetprompt.tenants.context import in_tenant
from tests.bench import clock
from tests.bench.plan import Measurement, Row, Taken
from tests.bench.world import REQUESTER, World

IDLE = "idle"


def measure_one(world: World) -> Taken:
    """Drain directives that sleep, with one cluster of two workers."""
    return _sleep(world, 1)


def measure_two(world: World) -> Taken:
    """The same with two clusters of two workers each, as on two hosts."""
    return _sleep(world, 2)


def _sleep(world: World, clusters: int) -> Taken:
    world.tenant(IDLE)
    world.settle(IDLE)
    batch, count = str(uuid4()), world.sizes.sleeps
    with ExitStack() as stack:
        for _ in range(clusters):
            stack.enter_context(world.cluster())
        request_idle(world, "sleep", count, batch)
        clock.wait_until_drained(world, [IDLE])
    end = clock.ended_at(world, [IDLE], batch, count)
    return Taken(clock.rate(count, clock.requested_at(world, IDLE, batch), end))


def request_idle(world: World, what: str, count: int, batch: str) -> None:
    """Request directives that change nothing.

    Args:
        what: `noop` or `sleep`.
        batch: their correlation id.
    """
    wanted = [(f"bench.idle.{what}", {"number": number}) for number in world.numbers(count)]
    with in_tenant(world.tenant(IDLE)):
        request_many(wanted, actor=REQUESTER, correlation_id=batch)


MEASUREMENTS = [
    Measurement("one_cluster", "5 ms of sleep, one cluster", "directives/s", measure_one),
    Measurement("two_clusters", "5 ms of sleep, two clusters", "directives/s", measure_two),
]
ROWS = [
    Row("clusters", "two clusters against one, 5 ms of sleep", "two_clusters", "one_cluster", at_least=1.6)
]
