"""Clusters whose connections are lost: what is requested next has its effect at once, without a sweep."""

import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from django.conf import settings
from django.db import connection

from directives import tasks
from directives.models import Directive
from fleetprompt.tenants.context import in_tenant
from tests.proxy import losing_answer
from tests.support import (
    ask_animal,
    ended,
    environment,
    owner_cursor,
    qcluster,
    signal_names,
    somebody_waits,
    thinned,
    wait_until,
)

LOST = b"the connection to the database was lost"
SELDOM = {"QUEUE_POLL": "60"}
SOON = 10
"""Seconds: generous for a busy machine, and far less than a sweep or a lease of a minute."""
LASTING = {"DIRECTIVES_LEASE_SECONDS": "60"}
TAKEN_OVER = [
    "directive.requested",
    "directive.started",
    "directive.recovered",
    "directive.started",
    "zoo.animal.worked",
    "directive.succeeded",
]


@pytest.fixture
def log(tmp_path):
    return tmp_path / "qcluster.log"


def done(*directives):
    with in_tenant("alpha"):
        return ended(directives)


def run_one():
    with in_tenant("alpha"):
        directive = ask_animal("work")
    wait_until(lambda: done(directive), "it is executed soon", seconds=SOON)
    return directive


def cut_all_sessions():
    with owner_cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid, 20000)) FROM pg_stat_activity WHERE datname ="
            " current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )


@contextmanager
def held(lock):
    """Hold what the statement locks, in a transaction of the cursor that the block is given."""
    with owner_cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(lock)
        try:
            yield cursor
        finally:
            cursor.execute("ROLLBACK")


def test_what_is_asked_for_after_all_sessions_were_ended_is_executed_at_once(database, log):
    """One worker, so that all who have a connection need it: the guard, who fetches, and who works."""
    with qcluster(log, workers=1, **SELDOM, **LASTING):
        wait_until(lambda: run_one(), "the cluster works")
        for cuts in range(1, 4):
            cut_all_sessions()
            run_one()
            wait_until(lambda cuts=cuts: log.read_bytes().count(LOST) >= 3 * cuts, "each of them says so")
        time.sleep(0.5)
    said = log.read_bytes()
    assert said.count(LOST) == 3 * 3, "once for each outage"
    assert b"Traceback" not in said
    assert not re.search(rb"ERROR|CRITICAL", said)


@pytest.mark.parametrize("at_once", thinned([False, True], every=2))
def test_a_claim_whose_answer_is_lost_does_not_wait_for_its_lease(database, log, at_once):
    """Also one that the server carries out after its worker has another connection."""
    with (
        losing_answer(b"'directive.started'", at_once=at_once) as proxy,
        qcluster(log, workers=1, DATABASE_URL=proxy.url, **SELDOM, **LASTING),
        held("SELECT pg_advisory_xact_lock(hashtext('org_alpha.claim'))") as cursor,
    ):
        proxy.armed.set()
        with in_tenant("alpha"):
            directive = ask_animal("work")
        assert proxy.lost.wait(20)
        wait_until(somebody_waits, "the claim waits for the lock")
        # The worker has time for a new connection, if it knows already that it needs one.
        time.sleep(1)
        cursor.execute("ROLLBACK")
        wait_until(lambda: done(directive), "it is executed soon", seconds=SOON)
        with in_tenant("alpha"):
            directive.refresh_from_db()
            assert (directive.attempt, directive.max_attempts) == (2, 6), "the lost attempt is not charged"
            assert signal_names(directive) == TAKEN_OVER


# Both statements are prepared by then, and only their parameters are sent.
@pytest.mark.parametrize(
    "text",
    thinned([b"fleetprompt:alpha", b"\x00\x00\x00\x05alpha"], every=2),
    ids=["it is taken", "its time slice begins"],
)
def test_a_wake_up_that_was_taken_is_not_lost_with_a_connection(database, log, text):
    with (
        losing_answer(text) as proxy,
        qcluster(log, workers=1, DATABASE_URL=proxy.url, **SELDOM, **LASTING),
    ):
        run_one()
        # Now the cluster waits for the next request, and nothing else.
        time.sleep(0.5)
        proxy.armed.set()
        run_one()
        assert proxy.lost.is_set()


@pytest.mark.parametrize(
    "lock",
    [
        "LOCK public.tenants_tenant IN ACCESS EXCLUSIVE MODE",
        "SELECT pg_advisory_xact_lock(hashtext('org_alpha.claim'))",
    ],
)
def test_a_time_slice_whose_connection_is_lost_is_repeated(database, lock):
    with in_tenant("alpha"):
        directive = ask_animal("work")

    def work():
        try:
            return tasks.work("alpha")
        finally:
            connection.close()

    with held(lock) as cursor, ThreadPoolExecutor() as pool:
        time_slice = pool.submit(work)
        wait_until(somebody_waits, "the time slice waits")
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 20000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        cursor.execute("ROLLBACK")
        assert time_slice.result(60) == 1
    with in_tenant("alpha"):
        directive.refresh_from_db()
        assert (directive.status, directive.attempt) == ("succeeded", 1)


WAITS = """
import django
django.setup()
from directives import runner
from fleetprompt.tenants.context import in_tenant
with in_tenant("alpha"):
    runner.run_due()
"""


def test_what_a_killed_worker_was_about_to_claim_stays_for_others(alpha):
    directive = ask_animal("work")
    with held("SELECT pg_advisory_xact_lock(hashtext('org_alpha.claim'))"):
        worker = subprocess.Popen(
            [sys.executable, "-c", WAITS], cwd=settings.BASE_DIR, env=environment(**LASTING)
        )
        wait_until(somebody_waits, "it waits to claim")
        worker.kill()
        worker.wait()
        wait_until(lambda: not somebody_waits(), "the server notices", seconds=SOON)
    assert Directive.objects.get().status == "requested"
    assert directive.attempt == 0
