"""One tenant's wave, while another tenant requests one directive each second."""

import subprocess
import time

from directives.requests import request
from fleetprompt.tenants.context import in_tenant
from tests.bench import clock, filling, requester
from tests.bench.figures.latency import delays, summary
from tests.bench.figures.trickle import wait_until_hidden
from tests.bench.plan import Measurement, Row, Taken
from tests.bench.world import REQUESTER, World

CROWD, VILLAGE = "crowd", "village"
_DUE = "SELECT count(*) FROM directives_directive WHERE status = 'requested'"
ENOUGH = 0.3
"""Below this part of what was due at first, the crowd gets more, so that it never comes to rest."""


def measure(world: World) -> Taken:
    """Return the village's times to done while the crowd has tens of thousands due."""
    posts = world.posts(VILLAGE, world.sizes.fairness_seconds)
    _crowd(world, world.sizes.fairness_due)
    world.settle(CROWD, VILLAGE)
    with world.cluster():
        begin = time.time()
        with in_tenant(CROWD):
            # One real request wakes the cluster for all.
            [last] = world.posts(CROWD, 1)
            request("forum.post.hide", {"post_id": last}, actor=REQUESTER, reason="spam")
        process = requester.start(VILLAGE, posts, pause=(1, 1))
        due = _watch(world, process, begin)
        xids = requester.answer(process)["xids"]
        wait_until_hidden(world, VILLAGE, posts)
        world.suspend(CROWD)
    found = summary(delays(world, VILLAGE, posts, xids))
    asked = [round(at - begin, 2) for at in clock.committed_at(world, xids)]
    return Taken(found.value, found.others, {**found.series, "asked": asked, "due": due})


def _crowd(world: World, wanted: int) -> None:
    world.activate(world.tenant(CROWD))
    [(left,)] = world.execute_in(CROWD, _DUE)
    if left < wanted:
        filling.fill_due(world, CROWD, wanted - left)


def _watch(world: World, process: "subprocess.Popen[str]", begin: float) -> list[tuple[float, int]]:
    """Keep the crowd busy until the requester ends; return how many were due, by seconds since `begin`."""
    due = []
    while process.poll() is None:
        [(left,)] = world.execute_in(CROWD, _DUE)
        due.append((round(time.time() - begin, 2), left))
        if left < world.sizes.fairness_due * ENOUGH:
            filling.fill_due(world, CROWD, world.sizes.fairness_due // 2)
        time.sleep(1)
    return due


MEASUREMENTS = [Measurement("fairness", "request to effect while another tenant has a wave", "ms", measure)]
ROWS = [
    Row(
        "fairness",
        "time to done beside a wave, p95, against idle",
        "fairness.p95",
        "latency.p95",
        at_most=10,
    ),
    Row("fairness", "time to done beside a wave, p95", "fairness.p95", at_most=250),
    Row("fairness", "time to done beside a wave, p50", "fairness"),
]
