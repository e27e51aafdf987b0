"""Runs the chaos harness and prints its report: `python -m tests.chaos.harness --seed 7 --minutes 5`."""

import argparse
import atexit
import logging
import math
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from tests.chaos.harness.schedule import WEIGHTS
from tests.chaos.harness.server import APPLICATION, Server

DESCRIPTION = """Runs clusters and requesters over several tenants while workers, clusters, connections and
PostgreSQL are killed, stopped, restarted and misled as a seeded schedule says; then checks every
directive. Ends with status 1 and each violation by name when there is any."""


def main() -> int:
    """Run the harness as the arguments say; return the status to end with."""
    options = _arguments()
    folder = Path(tempfile.mkdtemp(prefix="fleetprompt-chaos-"))
    # Registered before the wheel is there, so that it comes after the wheel's own last look at its lock.
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    server = Server(folder / "postgres")
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "tests.chaos.settings",
        "DATABASE_URL": server.url(APPLICATION),
        "DATABASE_OWNER_URL": server.url("postgres"),
        "AUDIT_FOLDER": str(folder / "audit"),
        "LOG_LEVEL": "WARNING",
        "PYTHONUNBUFFERED": "1",
    }
    violations = 1
    try:
        violations = _run(options, folder, server)
    finally:
        server.stop()
        if violations or options.keep:
            atexit.unregister(shutil.rmtree)
            say = f"The database, the journals and the logs are kept in {folder}"
            Console(stderr=True).print(say, soft_wrap=True)
    return 1 if violations else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.harness", description=DESCRIPTION)
    number = random.randrange(1_000_000)
    parser.add_argument("--seed", type=int, default=number, help="repeats a schedule (default: any)")
    parser.add_argument("--minutes", type=float, default=5, help="how long faults strike (default: 5)")
    parser.add_argument("--directives", type=int, help="how many are asked for (default: 2,400 a minute)")
    parser.add_argument("--tenants", type=int, default=4, help="how many tenants (default: 4)")
    parser.add_argument("--faults", type=int, help="how many faults are planned (default: 46 a minute)")
    parser.add_argument("--keep", action="store_true", help="keep the database and the logs")
    parser.add_argument(
        "--format", choices=["table", "json"], default="table", help="how to print the report"
    )
    options = parser.parse_args()
    if options.directives is None:
        options.directives = math.ceil(2400 * options.minutes)
    if options.faults is None:
        options.faults = max(len(WEIGHTS), round(46 * options.minutes))
    for name in ("minutes", "directives", "tenants", "faults"):
        if getattr(options, name) <= 0:
            parser.error(f"--{name}: expected more than 0")
    if options.faults < len(WEIGHTS):
        parser.error(f"--faults: expected {len(WEIGHTS)} or more, one of each kind; got {options.faults}")
    return options


def _run(options: argparse.Namespace, folder: Path, server: Server) -> int:
    import django
    from django.core.management import call_command

    django.setup()
    # What breaks off around here was meant to; the clusters' logs have theirs.
    logging.disable(logging.ERROR)
    from tests.chaos.harness.run import Options, Run

    call_command("migrate_schemas", shared=True, verbosity=0)
    wanted = Options(options.seed, options.minutes, options.directives, options.tenants, options.faults)
    Console(stderr=True).print(f"Seed {options.seed}; everything is in {folder}", soft_wrap=True)
    with _progress() as say:
        report = Run(wanted, folder, server, say).go()
    if options.format == "json":
        Console().print(report.as_json(), soft_wrap=True, markup=False, highlight=False)
    else:
        report.show(Console(width=None if sys.stdout.isatty() else 160))
    return len(report.violations)


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Show a line that changes on a terminal, and a line every ten times elsewhere."""
    console, said = Console(stderr=True), 0
    if console.is_terminal:
        with console.status("starting") as status:
            yield status.update
        return

    def say(text: str) -> None:
        nonlocal said
        if said % 5 == 0 or not text[:1].isspace():
            console.print(text, highlight=False)
        said += 1

    yield say


if __name__ == "__main__":
    sys.exit(main())
