"""Memory growth of a worker over many directives."""

from uuid import uuid4

from tests.bench import clock
from tests.bench.figures.clusters import IDLE, request_idle
from tests.bench.plan import Measurement, Row, Taken
from tests.bench.world import World

CHUNKS = 20
"""How many waves it takes."""


def measure(world: World) -> Taken:
    """Return by how much the largest worker grew after the first part, in percent.

    A worker that django-q2 replaced meanwhile counts as the one before it.
    """
    chunk = world.sizes.memory_last // CHUNKS
    held: list[tuple[int, float]] = []
    world.settle(world.tenant(IDLE))
    with world.cluster() as cluster:
        for number in range(1, CHUNKS + 1):
            batch = str(uuid4())
            request_idle(world, "noop", chunk, batch)
            clock.wait_until_drained(world, [IDLE])
            clock.ended_at(world, [IDLE], batch, chunk)
            held.append((number * chunk, max(cluster.memory().values()) / 2**20))
        started = len(cluster.started())
    first = max(size for done, size in held if done <= world.sizes.memory_first)
    last = max(size for done, size in held if done > world.sizes.memory_first)
    series = {"mib": [(done, round(size, 1)) for done, size in held], "workers_started": started}
    return Taken(100 * (last / first - 1), series=series)


MEASUREMENTS = [
    Measurement("memory", "growth of a worker from 10,000 to 100,000 directives", "%", measure, once=True)
]
ROWS = [Row("memory", "growth of a worker", "memory", at_most=10)]
