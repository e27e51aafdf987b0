"""All measurements in the order of a round, and the rows of the table."""

from collections.abc import Collection

from tests.bench.figures import (
    FIGURES,
    backlog,
    clusters,
    fairness,
    floor,
    latency,
    memory,
    plain_tasks,
    requesting,
    tenants,
    trickle,
    waves,
)
from tests.bench.plan import Measurement, Row

# Those that are compared stand side by side, so that the machine is the same for both.
_MODULES = (
    requesting,
    floor,
    waves,
    plain_tasks,
    trickle,
    latency,
    fairness,
    tenants,
    backlog,
    clusters,
    memory,
)
MEASUREMENTS: list[Measurement] = [one for module in _MODULES for one in module.MEASUREMENTS]
ROWS: list[Row] = [row for module in _MODULES for row in module.ROWS]


def rows(figures: Collection[str]) -> list[Row]:
    """Return the lines of some figures."""
    return [row for name in FIGURES for row in ROWS if row.figure == name and name in figures]


def measurements(wanted: list[Row]) -> list[Measurement]:
    """Return what has to be measured for the lines, yardsticks included, in their order."""
    named = [row.of for row in wanted] + [row.over for row in wanted if row.over]
    names = {name.partition(".")[0] for name in named}
    return [one for one in MEASUREMENTS if one.name in names]
