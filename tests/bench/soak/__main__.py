"""Runs a long mixed load and reports drift: `python -m tests.bench.soak --minutes 60`."""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench import machine
from tests.bench.server import Server
from tests.bench.session import FOLDER, save, session

DESCRIPTION = """Holds a mixed load over many tenants for MINUTES on a PostgreSQL of its own: single
requests, waves, posts by agents, failures, reruns, snoozes, reading, and sealing by its schedule, with
two clusters. Prints how it goes every few seconds and, at the end, what drifted between the first third
of the time and the last; ends with status 1 when anything did. Writes JSON, too."""
RESULT = FOLDER / "soak.json"
PROCESSES = 2
CLUSTERS = 2
COLUMNS = {
    "seconds": "s",
    "per_second": "done/s",
    "p50": "p50 ms",
    "p95": "p95 ms",
    "p99": "p99 ms",
    "waiting": "waiting",
    "dead_percent": "dead %",
    "bytes_per_directive": "B/row",
    "queue_kib": "queue KiB",
    "connections": "conns",
    "worker_mib": "worker MiB",
    "other_mib": "other MiB",
}


def main() -> int:
    """Hold the load as the arguments say; return the status to end with."""
    options = _arguments()
    with session() as (server, folder):
        result = _soak(options, server, folder)
    save(result, options.output)
    return int(any(verdict["drifted"] for verdict in result["verdicts"]))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.soak", description=DESCRIPTION)
    parser.add_argument("--minutes", type=float, default=10, help="how long (default: 10)")
    parser.add_argument("--tenants", type=int, default=50, help="how many tenants (default: 50)")
    parser.add_argument("--rate", type=float, default=100, help="directives a second (default: 100)")
    parser.add_argument("--every", type=float, default=10, help="seconds between two looks (default: 10)")
    parser.add_argument("--seed", type=int, default=1, help="another one is another load (default: 1)")
    parser.add_argument(
        "--output", type=Path, default=RESULT, help="where to write the JSON (default: var/bench/soak.json)"
    )
    options = parser.parse_args()
    for name in ("minutes", "tenants", "rate", "every"):
        if getattr(options, name) <= 0:
            parser.error(f"--{name}: expected more than 0; got {getattr(options, name):g}")
    from tests.bench.soak.drift import FEWEST

    if options.minutes * 60 < options.every * FEWEST:
        parser.error(f"--minutes: expected {FEWEST} looks of --every {options.every:g} seconds or more")
    return options


def _soak(options: argparse.Namespace, server: Server, folder: Path) -> dict[str, Any]:
    import django

    django.setup()
    from tests.bench import sizes
    from tests.bench.soak import drift
    from tests.bench.world import World

    described = machine.describe(server.settings())
    world = World(server, sizes.FULL, folder)
    try:
        slugs = _tenants(world, options.tenants)
        samples = _watch(world, slugs, options)
    finally:
        world.close()
    verdicts = drift.judge(samples)
    _show(verdicts)
    return {
        "machine": described,
        "options": {name: value for name, value in vars(options).items() if name != "output"},
        "samples": samples,
        "verdicts": [asdict(verdict) for verdict in verdicts],
    }


def _tenants(world: Any, count: int) -> list[str]:
    """Make the tenants with their posts; have signals sealed by schedule again."""
    from tests.bench.soak.load import POSTS

    Console(stderr=True).print(f"Making {count} tenants")
    slugs = [world.tenant(f"soak{number}") for number in range(count)]
    for slug in slugs:
        ids = world.posts(slug, POSTS)
        world.execute_in(
            slug,
            "UPDATE forums_post SET external_id = 'soak ' || lpad(number::text, 4, '0')"
            " FROM unnest(%s::uuid[]) WITH ORDINALITY AS made (post, number) WHERE id = post",
            ids,
        )
    world.settle(*slugs)
    world.seal_after("now")
    return slugs


def _watch(world: Any, slugs: list[str], options: argparse.Namespace) -> list[dict[str, Any]]:
    from tests.bench.soak.watch import Watch

    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print("".join(f"{title:>11}" for title in COLUMNS.values()))
    samples = []
    with ExitStack() as stack:
        clusters = [stack.enter_context(world.cluster()) for _ in range(CLUSTERS)]
        loads = stack.enter_context(_loads(slugs, options, world.folder))
        watch = Watch(world, slugs, clusters)
        while time.time() - watch.began < options.minutes * 60:
            time.sleep(options.every)
            samples.append(watch.look())
            console.print("".join(f"{samples[-1][name]:>11,}" for name in COLUMNS), highlight=False)
            if ended := [load for load in loads if load.poll() is not None]:
                raise RuntimeError(
                    f"a process of the load ended with {ended[0].returncode}; see {world.folder}"
                )
    return samples


@contextmanager
def _loads(
    slugs: list[str], options: argparse.Namespace, folder: Path
) -> Iterator[list["subprocess.Popen[str]"]]:
    """Run the processes that ask for something for a block."""
    started: list[subprocess.Popen[str]] = []
    try:
        for number in range(PROCESSES):
            with (folder / f"load{number}.log").open("wb") as log:
                load = subprocess.Popen(
                    [sys.executable, "-m", "tests.bench.soak.load"],
                    env={**os.environ, "DATABASE_OWNER_URL": ""},
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            started.append(load)
            assert load.stdin
            seed = options.seed * 1000 + number
            load.stdin.write(json.dumps({"slugs": slugs, "rate": options.rate / PROCESSES, "seed": seed}))
            load.stdin.close()
        yield started
    finally:
        for load in started:
            load.terminate()
        for load in started:
            load.wait()


def _show(verdicts: list[Any]) -> None:
    table = Table(title="The last third against the first", title_justify="left")
    for column in ("what", "first", "last", "allowed", "drifted"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for one in verdicts:
        drifted = "[red]yes[/]" if one.drifted else "[green]no[/]"
        table.add_row(one.what, f"{one.first:,g}", f"{one.last:,g}", one.allowed, drifted)
    Console(width=None if sys.stdout.isatty() else 140).print(table)


if __name__ == "__main__":
    sys.exit(main())
