"""Measures in rounds: everything once, then everything again in the other order, and so on."""

from collections.abc import Callable, Sequence
from typing import Any

from django.db import DatabaseError

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
        for one in _order(measurements, number, rounds):
            if one.name in left_out:
                continue
            say(f"round {number} of {rounds}: {one.what}")
            try:
                taken[one.name].append(one.measure(world))
            except (Unsound, AssertionError, DatabaseError) as error:
                # What else was measured in these minutes is not to be lost.
                left_out[one.name] = f"round {number}: {error}"
                say(f"  not measured: {error}")
                continue
            say(f"  {taken[one.name][-1].value:,.4g} {one.unit}")
    return _results(rows, measurements, taken, left_out)


def _order(measurements: Sequence[Measurement], number: int, rounds: int) -> list[Measurement]:
    """Return what a round measures: this way, that way, and in the end what is measured once."""
    often = [one for one in measurements if not one.once]
    once = [one for one in measurements if one.once]
    return (often if number % 2 else often[::-1]) + (once if number == rounds else [])


def _results(
    rows: Sequence[Row],
    measurements: Sequence[Measurement],
    taken: dict[str, list[Taken]],
    left_out: dict[str, str],
) -> dict[str, Any]:
    found: dict[str, dict[str, Any]] = {}
    for one in measurements:
        if one.name not in left_out:
            found |= results.measured(one, taken[one.name])
    compared = [line for row in rows if (line := results.compared(row, found))]
    return {"measurements": found, "rows": compared, "left_out": left_out}
