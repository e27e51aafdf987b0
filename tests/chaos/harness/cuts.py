"""Measures the time to the next effect after all connections are cut, by the requester's clock.

`python -m tests.chaos.harness.cuts` measures it on one cluster with the settings of production; the harness
does it in the middle of everything else.
"""

import argparse
import atexit
import logging
import math
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from rich.console import Console

from tests.chaos.harness.server import APPLICATION, Server

if TYPE_CHECKING:
    from directives.models import Directive

LOOK_SECONDS = 0.005
"""Between two looks whether the effect is there."""
ASKED_WITHIN_SECONDS = 1.0
"""What is asked for so soon after the cut is measured."""
LIMIT_SECONDS = 150.0
"""When a trial is given up: more than two sweeps, which come once a minute."""
WARM_UP = 6
"""Directives before each cut, so that every worker has a connection that can be cut."""

_CUT = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database()"
    " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
)


def cut_sessions(server: Server) -> None:
    """End all sessions of the database, as a failover or a pooler's restart does."""
    with closing(server.connect()) as connection:
        connection.execute(_CUT)


def restart(server: Server) -> None:
    """Stop PostgreSQL and start it again; return when it answers."""
    server.restart("fast")


CUTS: dict[str, Callable[[Server], None]] = {"sessions": cut_sessions, "restart": restart}


def time_to_effect(
    cut: Callable[[], None],
    ask: Callable[[], "Directive"],
    *,
    after: float,
    patiently: Callable[[Callable[[], Any]], Any],
) -> float:
    """Return the seconds from the database's return until what was asked for had its effect.

    Args:
        cut: loses all connections, and returns when the database takes new ones.
        ask: requests a directive.
        after: how many seconds after the cut to ask at the earliest.
        patiently: does something in the database, again when that fails.

    Raises:
        TimeoutError: it had none within `LIMIT_SECONDS`.
    """
    from directives.models import Directive

    asked_at = time.monotonic() + after
    cut()
    returned = time.monotonic()
    time.sleep(max(asked_at - returned, 0))
    directive = patiently(ask)

    def has_ended() -> bool:
        return Directive.objects.filter(pk=directive.pk, status__in=Directive.TERMINAL).exists()

    while not patiently(has_ended):
        if time.monotonic() - returned > LIMIT_SECONDS:
            raise TimeoutError(f"{directive} had no effect within {LIMIT_SECONDS:.0f} s")
        time.sleep(LOOK_SECONDS)
    return time.monotonic() - returned


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest of `values` that `share` of them do not exceed (the nearest rank)."""
    return sorted(values)[math.ceil(len(values) * share) - 1]


def summary(values: Sequence[float]) -> str:
    """Say the median, the 95th percentile and the longest of some times."""
    if not values:
        return "none"
    middle, most = statistics.median(values), percentile(values, 0.95)
    return f"median {middle:.2f} s, p95 {most:.2f} s, longest {max(values):.2f} s, of {len(values)}"


def main() -> int:
    """Measure as the arguments say; return the status to end with."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.harness.cuts", description=__doc__)
    parser.add_argument("--trials", type=int, default=20, help="trials of each kind (default: 20)")
    parser.add_argument("--kind", choices=CUTS, help="one kind only (default: all)")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="of the moments")
    options = parser.parse_args()
    if options.trials < 1:
        parser.error("--trials: expected 1 or more")
    folder = Path(tempfile.mkdtemp(prefix="fleetprompt-cuts-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    server = Server(folder / "postgres")
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "fleetprompt.settings",
        "DATABASE_URL": server.url(APPLICATION),
        "DATABASE_OWNER_URL": server.url("postgres"),
        "AUDIT_FOLDER": str(folder / "audit"),
        "LOG_LEVEL": "WARNING",
        "PYTHONUNBUFFERED": "1",
    }
    try:
        _measure(options, folder, server)
    finally:
        server.stop()
    return 0


def _measure(options: argparse.Namespace, folder: Path, server: Server) -> None:
    import django
    from django.core.management import call_command

    django.setup()
    logging.disable(logging.ERROR)
    call_command("migrate_schemas", shared=True, verbosity=0)
    from fleetprompt.tenants.context import in_tenant
    from tests.chaos.harness.world import World, patiently

    console = Console(highlight=False, soft_wrap=True)
    world = World(folder, server, ["harbor"])
    world.prepare()
    dice = random.Random(options.seed)
    try:
        world.start_clusters(1)
        for kind, cut in CUTS.items() if options.kind is None else [(options.kind, CUTS[options.kind])]:
            found, lines = [], []
            for number in range(options.trials):
                with in_tenant("harbor"):
                    _warm_up(patiently)
                    before = _lines(world.clusters[0].log)
                    after = ASKED_WITHIN_SECONDS * dice.random()
                    took = time_to_effect(
                        lambda cut=cut: cut(server), _ask, after=after, patiently=patiently
                    )
                found.append(took)
                # Whoever does nothing but live has noticed by then, too.
                time.sleep(2)
                lines.append(_lines(world.clusters[0].log) - before)
                said = f"{kind} {number + 1}: asked {after:.2f} s after the cut, effect {took:.2f} s after"
                console.print(f"{said} the return, {lines[-1]} lines logged")
            console.print(f"{kind}: {summary(found)}; {statistics.median(lines):.0f} lines logged")
    finally:
        world.kill_all()


def _warm_up(patiently: Callable[[Callable[[], Any]], Any]) -> None:
    from directives.models import Directive

    for _ in range(WARM_UP):
        asked = [patiently(_ask) for _ in range(3)]
        while patiently(
            lambda asked=asked: (
                Directive.objects.filter(pk__in=[one.pk for one in asked])
                .exclude(status__in=Directive.TERMINAL)
                .exists()
            )
        ):
            time.sleep(LOOK_SECONDS)


def _ask() -> "Directive":
    from directives.requests import request
    from forums.models import Post
    from signals.types import Actor

    post = Post.objects.order_by("?").first()
    assert post
    return request(
        "forum.post.hide",
        {"post_id": str(post.pk)},
        actor=Actor("system", "cuts"),
        reason="measuring",
        idempotency_key=f"cut {uuid4()}",
    ).directive


def _lines(log: Path) -> int:
    """Count the lines of a log that say more than what is done."""
    return sum(b" INFO " not in line for line in log.read_bytes().splitlines())


if __name__ == "__main__":
    sys.exit(main())
