"""`python -m tests.bench.report run1.json run2.json`: the results of one run or more as Markdown."""

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.table import number

DESCRIPTION = "Prints tables in Markdown from what `python -m tests.bench` wrote, a column for each run."


def main() -> None:
    """Print the tables of the runs that the arguments name."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.report", description=DESCRIPTION)
    parser.add_argument("results", type=Path, nargs="+", help="files that the benchmark wrote")
    runs = [_read(parser, path) for path in parser.parse_args().results]
    print(render(runs), end="")  # noqa: T201 - to be copied or piped


def _read(parser: argparse.ArgumentParser, path: Path) -> dict[str, Any]:
    try:
        run: dict[str, Any] = json.loads(path.read_text())
        run["machine"], run["rows"], run["measurements"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        parser.error(f"results: {path} is no result of the benchmark ({error})")
    return run


def render(runs: Sequence[dict[str, Any]]) -> str:
    """Return the runs as Markdown: the machine, the lines with targets, all absolute figures.

    Each cell is the median of a run's rounds and, in brackets, the least and the greatest of them.
    """
    lines = [*_machine(runs), "", *_targets(runs), "", *_figures(runs)]
    return "\n".join(lines) + "\n"


def _machine(runs: Sequence[dict[str, Any]]) -> list[str]:
    machine = runs[0]["machine"]
    postgres = machine["postgres"]
    described = (
        f"{machine['cores']} cores ({machine['processor']}), {machine['memory_gib']} GiB,"
        f" {machine['system']}; PostgreSQL {postgres['server_version']}, Python {machine['python']};"
        f" fsync {postgres['fsync']}, synchronous_commit {postgres['synchronous_commit']},"
        f" full_page_writes {postgres['full_page_writes']}."
    )
    dates = [
        f"Run {place}: commit `{run['machine']['commit']}`, {run['machine']['date'][:10]},"
        f" {run['options']['rounds']} rounds, {run['seconds'] / 60:.0f} minutes"
        + (", with little to do (`--quick`)." if run["options"]["quick"] else ".")
        for place, run in enumerate(runs, 1)
    ]
    return [described, "", *dates]


def _targets(runs: Sequence[dict[str, Any]]) -> Iterable[str]:
    found = [{(row["figure"], row["what"]): row for row in run["rows"]} for run in runs]
    yield _line(["what", "target", *_columns(runs), "median of the runs", "reached"])
    yield _line([":---", "---:", *("---:" for _ in runs), "---:", ":---:"])
    for key in dict.fromkeys(key for run in found for key in run):
        rows = [run.get(key) for run in found]
        [first, *_] = present = [row for row in rows if row]
        middle = median(row["median"] for row in present)
        reached = {True: "yes", False: "no", None: ""}[_reached(first["target"], middle)]
        middle_text = number(middle, first["unit"])
        yield _line([key[1], first["target"], *map(_cell, rows), middle_text, reached])


def _figures(runs: Sequence[dict[str, Any]]) -> Iterable[str]:
    found = [run["measurements"] for run in runs]
    yield _line(["measured", "unit", *_columns(runs)])
    yield _line([":---", ":---", *("---:" for _ in runs)])
    for name in dict.fromkeys(name for run in found for name in run):
        cells = [run.get(name) for run in found]
        first = next(cell for cell in cells if cell)
        yield _line([first["what"], first["unit"], *map(_cell, cells)])


def _columns(runs: Sequence[dict[str, Any]]) -> list[str]:
    return [f"run {place}" for place in range(1, len(runs) + 1)]


def _cell(figure: dict[str, Any] | None) -> str:
    if figure is None:
        return "–"
    text = number(figure["median"])
    if figure["min"] == figure["max"]:
        return text
    return f"{text} ({number(figure['min'])} to {number(figure['max'])})"


def _reached(target: str, value: float) -> bool | None:
    """Compare with a target as `Row.target` writes it."""
    if not target:
        return None
    bound = float(target.strip("≥≤ ×").replace(",", ""))
    return value >= bound if target.startswith("≥") else value <= bound


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
