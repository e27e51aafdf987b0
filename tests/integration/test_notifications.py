"""A cluster that polls once a minute: a notification starts work at once, and without one the poll does."""

import os
import re
import signal

import psutil
import pytest
from django.db import connection

from directives import tasks
from directives.models import Directive
from directives.queueing import adapter
from fleetprompt.tenants.context import in_tenant
from tests.support import ask_animal, ended, lose_wake_ups, messages, owner_cursor, qcluster, wait_until

SELDOM = {"QUEUE_POLL": "60"}
"""Longer than a test waits."""


@pytest.fixture
def log(tmp_path):
    return tmp_path / "qcluster.log"


def done(*directives, slug="alpha"):
    with in_tenant(slug):
        return ended(directives)


def settle(slug="alpha"):
    """Have the cluster look at the table and begin to wait."""
    with in_tenant(slug):
        first = ask_animal("roam", "first")
    wait_until(lambda: done(first, slug=slug), "the cluster works")


def test_a_request_starts_work_at_once(database, log):
    with qcluster(log, **SELDOM):
        settle()
        for slug in ("alpha", "beta"):
            with in_tenant(slug):
                directive = ask_animal("work")
            wait_until(lambda one=directive, slug=slug: done(one, slug=slug), "nobody had to look")


@pytest.mark.long
def test_a_request_within_the_interval_after_a_notification_is_found_too(database, log):
    with qcluster(log, workers=1, **SELDOM):
        settle()
        for _ in range(5):
            asked = {}
            for slug in ("alpha", "beta"):
                with in_tenant(slug):
                    asked[slug] = ask_animal("roam")
            for slug, one in asked.items():
                wait_until(lambda one=one, slug=slug: done(one, slug=slug), "the cluster looks once more")


@pytest.mark.long
def test_wake_ups_of_workers_notify_too(database, log):
    """A full batch ends a time slice, which leaves a wake-up of the worker's own."""
    with qcluster(log, **SELDOM, DIRECTIVES_CLAIM_LIMIT="2"):
        settle()
        with in_tenant("alpha"):
            asked = [ask_animal("work") for _ in range(7)]
        wait_until(lambda: done(*asked), "all time slices follow one another")


@pytest.mark.long
def test_a_lost_notification_costs_at_most_one_poll(database, log):
    with qcluster(log, QUEUE_POLL="2"):
        settle()
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO public.django_q_ormq (key, payload, lock)"
                " VALUES ('fleetprompt:alpha', %s, now())",
                [adapter._message("alpha")],
            )
        wait_until(lambda: not messages(), "the look finds it")


def test_notifications_are_received_again_after_the_server_ended_all_sessions(database, log):
    with qcluster(log, **SELDOM):
        settle()
        with owner_cursor() as cursor:
            cursor.execute(
                "SELECT count(pg_terminate_backend(pid, 20000)) FROM pg_stat_activity WHERE datname ="
                " current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
        connection.close()
        with in_tenant("alpha"):
            directive = ask_animal("work")
        wait_until(lambda: done(directive), "it is executed")
        with in_tenant("beta"):
            other = ask_animal("work")
        wait_until(lambda: done(other, slug="beta"), "nobody had to look")


@pytest.mark.long
def test_a_thousand_single_requests_are_a_few_time_slices(database, log):
    with in_tenant("alpha"):
        asked = [ask_animal("roam", str(number)) for number in range(1000)]
    assert messages() == 1000
    with qcluster(log, DIRECTIVES_CLAIM_LIMIT="1000", DIRECTIVES_TIME_SLICE_SECONDS="60"):
        wait_until(lambda: done(*asked), "all have ended", seconds=90)
        wait_until(lambda: not messages(), "no wake-up is left")
    assert len(re.findall(rb"processing wake alpha", log.read_bytes())) < 10


def test_what_a_killed_cluster_had_fetched_is_found_by_the_sweep(database, log):
    slugs = ("alpha", "beta")
    with qcluster(log, workers=1, **SELDOM) as cluster:
        settle()
        [sentinel] = psutil.Process(cluster.pid).children()
        # Nobody takes what is fetched now.
        for process in sentinel.children():
            if b"pushing tasks at %d" % process.pid not in log.read_bytes():
                process.suspend()
        directives = {}
        for slug in slugs:
            with in_tenant(slug):
                directives[slug] = ask_animal("work")
        wait_until(lambda: messages() < 2, "it fetches")
        os.killpg(cluster.pid, signal.SIGKILL)
        cluster.wait()
    lose_wake_ups()
    with qcluster(log, **SELDOM):
        settle()
        wait_until(lambda: done(directives["alpha"]), "alpha's wake-up was for all of its directives")
        assert not done(directives["beta"], slug="beta"), "no wake-up tells of it"
        assert tasks.sweep() == ["beta"]
        wait_until(lambda: done(directives["beta"], slug="beta"), "the sweep woke its tenant")
    with in_tenant("alpha"):
        assert set(Directive.objects.values_list("attempt", flat=True)) == {1}
