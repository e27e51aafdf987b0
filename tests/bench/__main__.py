"""Measures everything and compares it with the baselines: `python -m tests.bench`."""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.bench import machine
from tests.bench.figures import FIGURES
from tests.bench.server import Server
from tests.bench.session import FOLDER, save, session

DESCRIPTION = """Starts a PostgreSQL of its own that waits for its disk, measures everything in rounds,
alternating with the yardsticks (pgbench and plain django-q2), prints a table and writes JSON.
docs/explanation/performance.md explains each figure."""
RESULT = FOLDER / "results.json"


def main() -> int:
    """Measure as the arguments say; return the status to end with."""
    options = _arguments()
    with session() as (server, folder):
        result = _measure(options, server, folder)
    save(result, options.output)
    return 1 if result["left_out"] else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=DESCRIPTION)
    parser.add_argument("--only", help="figures to measure, separated by commas (default: all); see --list")
    parser.add_argument("--list", action="store_true", help="list the figures")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default: 3)")
    parser.add_argument("--quick", action="store_true", help="measure little: does the benchmark work?")
    parser.add_argument("--tenants", type=int, help="how many tenants (default: 1,000)")
    parser.add_argument(
        "--output",
        type=Path,
        default=RESULT,
        help="where to write the JSON (default: var/bench/results.json)",
    )
    options = parser.parse_args()
    if options.list:
        print(*(f"{name:<12}{what}" for name, what in FIGURES.items()), sep="\n")  # noqa: T201 - asked for
        parser.exit()
    unknown = [name for name in (options.only or "").split(",") if name and name not in FIGURES]
    if unknown:
        parser.error(f"--only: there is no figure {unknown[0]!r}; expected some of {', '.join(FIGURES)}")
    for name in ("rounds", "tenants"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            parser.error(f"--{name}: expected 1 or more; got {getattr(options, name)}")
    return options


def _measure(options: argparse.Namespace, server: Server, folder: Path) -> dict[str, Any]:
    import django

    django.setup()
    from dataclasses import replace

    from tests.bench import catalog, sizes, table
    from tests.bench.run import run
    from tests.bench.world import World

    wanted = options.only.split(",") if options.only else FIGURES
    size = sizes.QUICK if options.quick else sizes.FULL
    if options.tenants:
        size = replace(size, tenants=options.tenants)
    described = machine.describe(server.settings())
    progress, begin = Console(stderr=True), time.monotonic()

    def say(text: str) -> None:
        progress.print(f"{time.monotonic() - begin:6.0f} s  {text}", highlight=False, soft_wrap=True)

    rows = catalog.rows(wanted)
    world = World(server, size, folder, say)
    try:
        found = run(world, rows, catalog.measurements(rows), options.rounds, say)
    finally:
        world.close()
    result = {
        "machine": described,
        "options": {"quick": options.quick, "rounds": options.rounds, "sizes": vars(size)},
        "seconds": round(time.monotonic() - begin),
        **found,
    }
    table.show(result, Console(width=None if sys.stdout.isatty() else 140))
    return result


if __name__ == "__main__":
    sys.exit(main())
