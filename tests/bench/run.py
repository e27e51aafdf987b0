"""Measures in rounds: everything once, then everything again in the other order, and so on."""

from collections.abc import Callable, Sequence
from typing import Any

from tests.bench import results
from tests.bench.clock import Unsound
from tests.bench.plan import Measurement, Row, Taken
from tests.bench.world import World

Say = Callable[[str], None]


def run(
    world: World, rows: Sequence[Row], measurements: Sequence[Measurement], rounds: int, say: Say
) -> dict[str, Any]:
    """Measure and return `measurements`, `rows` and `left_out`, as JSON values.

    What is compared is measured within the same minutes of each round, the order of which alternates:
    the machine is noisy, and gets no chance to be kind to one of two.

    Args:
        rounds: how often each is measured, unless once is enough.
        say: is told what is measured now, and what came of it.
    """
    left_out = {one.name: why for one in measurements if (why := one.needs())}
    taken: dict[str, list[Taken]] = {one.name: [] for one in measurements if one.name not in left_out}
    for number in range(1, rounds + 1):
        world.round = number
        order = measurements if number % 2 else list(reversed(measurements))
        for one in order:
            if one.name in left_out or (one.once and number > 1):
                continue
            say(f"round {number} of {rounds}: {one.what}")
            try:
                taken[one.name].append(one.measure(world))
            except Unsound as error:
                left_out[one.name] = f"round {number}: {error}"
                say(f"  unsound: {error}")
                continue
            say(f"  {taken[one.name][-1].value:,.4g} {one.unit}")
    found: dict[str, dict[str, Any]] = {}
    for one in measurements:
        if one.name not in left_out:
            found |= results.measured(one, taken[one.name])
    compared = [line for row in rows if (line := results.compared(row, found))]
    return {"measurements": found, "rows": compared, "left_out": left_out}
