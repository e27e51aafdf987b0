"""Results of a run as JSON values: all rounds of all measurements, and the table's rows."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from tests.bench.plan import Measurement, Row, Taken


def measured(one: Measurement, rounds: Sequence[Taken]) -> dict[str, dict[str, Any]]:
    """Return a measurement with all its rounds, and its other values, by name."""
    found = {one.name: _figure(one.what, one.unit, [taken.value for taken in rounds])}
    found[one.name]["series"] = [dict(taken.series) for taken in rounds]
    for name in rounds[0].others:
        values = [taken.others[name] for taken in rounds]
        found[f"{one.name}.{name}"] = _figure(f"{one.what}, {name}", one.unit, values)
    return found


def _figure(what: str, unit: str, values: Sequence[float]) -> dict[str, Any]:
    rounds = [_short(value) for value in values]
    return {"what": what, "unit": unit, **_summary(values), "rounds": rounds}


def compared(row: Row, found: dict[str, Any]) -> dict[str, Any] | None:
    """Return a line of the table; None when what it needs was not measured.

    The ratio is taken within each round, and the median of those counts.

    Args:
        found: measurements by name, as `measured` gives them.
    """
    of, over = found.get(row.of), found.get(row.over) if row.over else None
    if of is None or (row.over and over is None):
        return None
    values = of["rounds"]
    if over:
        values = [mine / theirs for mine, theirs in zip(of["rounds"], over["rounds"], strict=False)]
    summary = _summary(values)
    return {
        "figure": row.figure,
        "what": row.what,
        "of": row.of,
        "over": row.over,
        "unit": "×" if row.over else of["unit"],
        **summary,
        "rounds": [_short(value) for value in values],
        "target": row.target,
        "reached": row.reached(summary["median"]),
    }


def _summary(values: Sequence[float]) -> dict[str, float]:
    return {"median": _short(median(values)), "min": _short(min(values)), "max": _short(max(values))}


def _short(value: float) -> float:
    """Return the value with four digits that count."""
    return float(f"{value:.4g}") if abs(value) < 1000 else round(value, 1)
