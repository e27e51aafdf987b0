"""Workers of a real cluster that are killed during a directive: nothing is lost or doubled."""

import os
import signal
import subprocess
import sys
from datetime import timedelta

import psutil
import pytest
from django.conf import settings
from django.db.models.functions import Now
from django.utils import timezone
from django_q.models import Schedule

from directives import runner, tasks
from directives.lifecycle import queries
from directives.models import Directive
from directives.queueing import clusters
from fleetprompt.tenants.context import in_tenant
from tests.support import (
    ask_animal,
    begun,
    crash,
    effects,
    ended,
    environment,
    gate,
    lose_wake_ups,
    messages,
    qcluster,
    signal_names,
    states,
    wait_until,
    worker_of,
)

TAKEN_OVER = [
    "directive.requested",
    "directive.started",
    "directive.recovered",
    "directive.started",
    "zoo.animal.waited",
    "directive.succeeded",
]


@pytest.fixture
def log(tmp_path):
    return tmp_path / "qcluster.log"


def all_ended(directives):
    with in_tenant("alpha"):
        return ended(directives)


def sweep_until_ended(*directives):
    """Sweep, as the schedule does every minute, until the directives have ended."""
    wait_until(lambda: (tasks.sweep(), all_ended(directives))[1], "all have ended")
    for directive in directives:
        with in_tenant("alpha"):
            directive.refresh_from_db()


def test_a_worker_killed_in_the_middle_of_a_handler_is_replaced_when_its_lease_runs_out(database, log):
    with qcluster(log):
        with in_tenant("alpha"), gate("here") as opened:
            directive = ask_animal("wait", note="here", times=1)
            wait_until(lambda: begun(directive), "the handler runs")
            killed = worker_of(directive)
            os.kill(killed, signal.SIGKILL)
            assert states(directive) == ["running"]
            wait_until(lambda: queries.stalled().exists(), "the lease runs out")
            opened()
        sweep_until_ended(directive)
        with in_tenant("alpha"):
            assert worker_of(directive) != killed
            assert (directive.status, directive.attempt) == ("succeeded", 2)
            assert effects("cat here") == 1
            assert signal_names(directive) == TAKEN_OVER


@pytest.mark.long
def test_a_directive_that_kills_its_worker_every_time_fails_and_its_batch_mates_are_not_charged(
    database, log
):
    with in_tenant("alpha"):
        killer = ask_animal("die", "killer", times=99)
        mates = [ask_animal("roam", f"mate {number}") for number in range(5)]
    with qcluster(log, workers=1):
        sweep_until_ended(killer, *mates)
    with in_tenant("alpha"):
        assert (killer.status, killer.attempt, killer.max_attempts) == ("failed", 3, 3)
        assert killer.last_error == "LeaseExpired: the lease of attempt 3 expired, and it was the last one"
        assert signal_names(killer).count("directive.recovered") == 3
        assert effects("killer") == 0
        assert states(*mates) == ["succeeded"] * 5
        assert [effects(f"mate {number}") for number in range(5)] == [1] * 5
        assert {mate.max_attempts - mate.attempt for mate in mates} == {4}, "as after one attempt"
        assert any(mate.attempt > 1 for mate in mates), "some of them were in the killed worker's batch"


@pytest.mark.long
def test_a_directive_that_kills_its_worker_once_succeeds_in_the_end(database, log):
    with in_tenant("alpha"):
        directives = [ask_animal("die", f"killer {number}", times=1) for number in range(2)]
    with qcluster(log):
        sweep_until_ended(*directives)
    with in_tenant("alpha"):
        assert states(*directives) == ["succeeded"] * 2
        for number, directive in enumerate(directives):
            assert effects(f"killer {number}") == 1
            assert signal_names(directive).count("zoo.animal.survived") == 1
            assert signal_names(directive).count("directive.succeeded") == 1


TOGETHER = """
import django
django.setup()
from directives import registry, runner
from directives.executing import attempts
from fleetprompt.tenants.context import in_tenant
for handler in registry.handlers():
    attempts.seconds_by_name[handler.name] = 0.0
with in_tenant("alpha"):
    runner.run_due()
"""


def test_one_that_kills_its_group_is_found_out_alone_and_its_mates_are_not_charged(alpha):
    first, killer, last = asked = [
        ask_animal("work", "a"),
        ask_animal("die", "b", times=2),
        ask_animal("work", "c"),
    ]
    for begun_ones in ([], [killer]):
        worker = subprocess.run(
            [sys.executable, "-c", TOGETHER], cwd=settings.BASE_DIR, env=environment(), check=False
        )
        assert worker.returncode == -signal.SIGKILL
        assert [one for one in asked if begun(one)] == begun_ones
        Directive.objects.filter(status="running").update(lease_expires_at=Now() - timedelta(seconds=1))
    runner.run_due()
    assert states(*asked) == ["succeeded"] * 3
    for one in asked:
        one.refresh_from_db()
    assert (killer.attempt, killer.max_attempts) == (3, 4)
    assert first.max_attempts - first.attempt == last.max_attempts - last.attempt == 4
    assert [effects(animal) for animal in "abc"] == [1, 1, 1]


@pytest.mark.long
def test_a_new_cluster_finishes_what_a_killed_one_left(database, log):
    with in_tenant("alpha"), gate("here") as opened:
        held = ask_animal("wait", note="here", times=1)
        others = [ask_animal("work", f"cat {number % 3}", note=str(number)) for number in range(12)]
        with qcluster(log) as first:
            wait_until(lambda: begun(held), "the handler runs")
            os.killpg(first.pid, signal.SIGKILL)
            first.wait()
        assert states(held) == ["running"]
        opened()
    with qcluster(log):
        sweep_until_ended(held, *others)
    with in_tenant("alpha"):
        assert states(held, *others) == ["succeeded"] * 13
        assert effects("cat here") == 1
        assert [effects(f"cat {number % 3} {number}") for number in range(12)] == [1] * 12
        assert signal_names(held) == TAKEN_OVER


@pytest.mark.long
def test_the_scheduled_sweep_brings_back_what_was_lost_by_itself(database, log):
    with in_tenant("alpha"):
        forgotten, stalled = ask_animal("work", "forgotten"), ask_animal("work", "stalled")
        crash(stalled)
    lose_wake_ups()
    assert Schedule.objects.filter(name=clusters.SWEEP).update(next_run=timezone.now()) == 1
    with qcluster(log):
        # django-q2 looks at its schedules every 30 seconds.
        wait_until(lambda: all_ended([forgotten, stalled]), "the sweep came by", seconds=75)
    with in_tenant("alpha"):
        assert states(forgotten, stalled) == ["succeeded"] * 2
        assert dict(Directive.objects.values_list("subject_id", "attempt")) == {
            "forgotten": 1,
            "stalled": 2,
        }


@pytest.mark.long
def test_a_cluster_goes_on_whichever_of_its_idle_processes_is_killed(database, log):
    with qcluster(log, workers=3) as cluster:
        [sentinel] = psutil.Process(cluster.pid).children()
        first = sentinel.children()
        assert len(first) == 5, "three workers, one that reports and one that fetches"
        for number, process in enumerate(first):
            process.kill()
            wait_until(lambda: len(sentinel.children()) == 5, "there is another one in its place")
            with in_tenant("alpha"):
                directives = [ask_animal("roam", f"{number} {one}") for one in range(3)]
            sweep_until_ended(*directives)
        assert not {process.pid for process in first} & {p.pid for p in sentinel.children()}
        lose_wake_ups()
        with in_tenant("alpha"):
            ask_animal("roam", "the last one")
        wait_until(lambda: not messages(), "a message that is worked through is removed")
