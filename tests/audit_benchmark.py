"""Measures the audit log on a database of its own: `python -m tests.audit_benchmark`."""

import argparse
import os
import select
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from statistics import median, quantiles

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

from django.conf import settings  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from directives import runner  # noqa: E402
from fleetprompt.tenants.context import in_tenant  # noqa: E402
from fleetprompt.tenants.provisioning import create_tenant  # noqa: E402
from signals import bus  # noqa: E402
from signals.audit.publishing import exports  # noqa: E402
from signals.audit.sealing import sealer  # noqa: E402
from signals.audit.sealing.keys import private_key  # noqa: E402
from signals.audit.verifying import verification  # noqa: E402
from signals.models import Signal  # noqa: E402
from signals.types import Subject  # noqa: E402
from tests.support import TESTER, ask, environment, make_forum, own_database  # noqa: E402

_numbers = count()


def main() -> None:
    """Print how fast signals are sealed, verified and exported, and what sealing costs emitters."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--signals", type=int, default=50_000, help="to seal and verify (default: 50000)")
    parser.add_argument("--rounds", type=int, default=30, help="with and without a sealer (default: 30)")
    parser.add_argument("--each", type=int, default=100, help="of everything in a round (default: 100)")
    parser.add_argument("--pause", type=float, default=1, help="seconds between seals (default: 1)")
    parser.add_argument("--sealer", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.sealer:
        _seal_on(options.pause)
        return
    with own_database():
        create_tenant("benchmark", name="Benchmark", domain="benchmark.localhost")
        with in_tenant("benchmark"):
            console = Console(width=None if sys.stdout.isatty() else 110)
            console.print(_rates(options.signals))
            console.print(_costs(options.rounds, options.each, options.pause))


def _rates(signals: int) -> Table:
    table = Table(title=f"{signals:,} signals in one process")
    table.add_column("what")
    table.add_column("signals per second", justify="right")
    for start in range(0, signals, 5_000):
        bus.record([_fact() for _ in range(min(5_000, signals - start))])
    key = private_key().public
    measures: dict[str, Callable[[], object]] = {
        "seal": sealer.seal,
        "verify": verification.verify,
        "export": lambda: lines.extend(exports.export()),
        "check an export": lambda: exports.check(lines, {key.id: key}),
    }
    lines: list[bytes] = []
    for what, measure in measures.items():
        table.add_row(what, f"{signals / _seconds(measure):,.0f}")
    return table


def _costs(rounds: int, each: int, pause: float) -> Table:
    """Measure the same with and without a sealer at work, taking short turns; compare neighbours."""
    taken: dict[tuple[str, bool], list[float]] = defaultdict(list)
    posts = [str(post.pk) for post in make_forum(each).posts]
    _round(posts, 0)
    with _sealer(pause) as switch:
        for number in range(1, rounds * 2 + 1):
            # off, on, on, off, …: what grows or drifts meanwhile burdens both alike.
            is_on = number % 4 in (2, 3)
            switch(is_on)
            for what, seconds in _round(posts, number).items():
                taken[what, is_on].append(seconds / each * 1000)
    table = Table(title=f"{rounds} pairs of rounds of {each}, a seal every {pause:g} s in another process")
    for column in ("what", "ms without", "ms with", "ratio", "middle half of the pairs' ratios"):
        table.add_column(column, justify="left" if column == "what" else "right", no_wrap=True)
    for what in dict.fromkeys(what for what, _ in taken):
        off, on = taken[what, False], taken[what, True]
        low, middle, high = quantiles([b / a for a, b in zip(off, on, strict=True)])
        table.add_row(
            what, f"{median(off):.3f}", f"{median(on):.3f}", f"{middle:.3f}", f"{low:.3f}–{high:.3f}"
        )
    return table


def _round(posts: list[str], number: int) -> dict[str, float]:
    name = "forum.post.hide" if number % 2 else "forum.post.unhide"
    return {
        "emit ten signals": _seconds(lambda: [bus.record([_fact()]) for _ in posts for _ in range(10)]),
        "request a directive": _seconds(lambda: [ask(name, {"post_id": pk}) for pk in posts]),
        "run it": _seconds(runner.run_due),
    }


def _fact() -> Signal:
    number = next(_numbers)
    payload = {
        "name": "forum.post.hide",
        "attempt": 1,
        "reason": "spam",
        "after": "hidden",
        "number": number,
    }
    return bus.fact(
        "forum.post.hidden",
        payload,
        dedupe_key=f"benchmark:{number}",
        actor=TESTER,
        subject=Subject("forum.post", str(number)),
        source="benchmark",
        correlation_id="0" * 36,
    )


@contextmanager
def _sealer(pause: float) -> Iterator[Callable[[bool], None]]:
    """Run a process for a block that seals while it is switched on; what waits is sealed at the switch."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.audit_benchmark", "--sealer", "--pause", str(pause)],
        cwd=settings.BASE_DIR,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    answers = process.stdout

    def switch(is_on: bool) -> None:
        print("on" if is_on else "off", file=process.stdin, flush=True)
        answers.readline()

    with process:
        yield switch
        process.stdin.close()


def _seal_on(pause: float) -> None:
    """Seal every `pause` seconds while the last line on standard input was `on`; answer each line."""
    is_on = False
    with in_tenant("benchmark"):
        while True:
            if select.select([sys.stdin], [], [], pause if is_on else None)[0]:
                line = sys.stdin.readline()
                if not line:
                    return
                is_on = line == "on\n"
                sealer.seal()
                print("done", flush=True)  # noqa: T201
            else:
                sealer.seal()


def _seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
