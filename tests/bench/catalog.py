"""All that can be measured, in the order in which a round does it, and the lines of the table."""

from collections.abc import Collection

from tests.bench.figures import floor, plain_tasks, requesting, waves
from tests.bench.plan import Measurement, Row

# Those that are compared stand side by side, so that the machine is the same for both.
_MODULES = (requesting, floor, waves, plain_tasks)
MEASUREMENTS: list[Measurement] = [one for module in _MODULES for one in module.MEASUREMENTS]
ROWS: list[Row] = [row for module in (waves, requesting) for row in module.ROWS]


def rows(figures: Collection[str]) -> list[Row]:
    """Return the lines of some figures."""
    return [row for row in ROWS if row.figure in figures]


def measurements(wanted: list[Row]) -> list[Measurement]:
    """Return what has to be measured for the lines, yardsticks included, in their order."""
    names = {row.of for row in wanted} | {row.over for row in wanted if row.over}
    return [one for one in MEASUREMENTS if one.name in names]
