"""A wave in a tenant with a long past, against one without."""

from tests.bench import filling
from tests.bench.figures.waves import SINGLY, drain
from tests.bench.plan import Measurement, Row, Taken
from tests.bench.world import World

OLD = "old"


def measure_old(world: World) -> Taken:
    """Drain a wave in a tenant with a million finished directives."""
    if not world.knows(OLD):
        world.tenant(OLD)
        world.say("  writing a long past")
        filling.fill_finished(world, OLD, world.sizes.backlog_directives, world.sizes.backlog_signals)
    return drain(world, OLD, SINGLY)


def measure_young(world: World) -> Taken:
    """Drain a wave in a tenant that was made just now."""
    return drain(world, f"young{world.round}", SINGLY)


MEASUREMENTS = [
    Measurement("old", "a wave in a tenant with a long past", "directives/s", measure_old),
    Measurement("young", "a wave in a new tenant", "directives/s", measure_young),
]
ROWS = [Row("backlog", "wave in an old tenant, against a new one", "old", "young", at_least=0.9)]
