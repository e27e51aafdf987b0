"""The tenant's overview: figures, chart, failures and alarm, from real requests."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from model_bakery.recipe import seq

from directives.models import Directive
from directives.monitoring import statistics
from signals.models import Signal
from tests.accounts import logged_in, make_user, within
from tests.big import asked, fill, nodes, seq_scans
from tests.recipes import directives
from tests.support import ask_animal, change, claim, expire_lease, owner_cursor, run

HOST = {"host": "alpha.localhost"}
LATE = timedelta(minutes=3)


@pytest.fixture
def client(database):
    return logged_in("alpha", make_user("alpha", is_superuser=True))


def test_the_figures_tell_states_apart(alpha):
    now = timezone.now()
    ask_animal("work")
    ask_animal("work", scheduled_at=now + timedelta(hours=1))
    ask_animal("work", scheduled_at=now + timedelta(hours=2))
    claim(ask_animal("work", animal="dog"))
    run(ask_animal("refuse", animal="owl"))
    run(old := ask_animal("refuse", animal="owl"))
    change(old, completed_at=now - timedelta(days=2))
    found = statistics.read()
    assert (found.requested, found.snoozed, found.running) == (1, 2, 1)
    assert (found.failed, found.failed_ever) == (1, 2)
    assert now - timedelta(minutes=1) < found.oldest_due < timezone.now()
    assert not found.is_stuck


def test_the_chart_counts_by_hour_and_outcome(alpha):
    now = timezone.now()
    for status, age in (
        ("succeeded", 0),
        ("succeeded", 0),
        ("failed", 3),
        ("canceled", 23),
        ("failed", 30),
    ):
        change(ask_animal("work"), status=status, completed_at=now - timedelta(hours=age))
    with timezone.override("Asia/Kolkata"):
        hours = statistics.by_hour()
    assert len(hours) == 24
    assert {hour.start.minute for hour in hours} == {0}
    assert {str(hour.start.tzinfo) for hour in hours} == {"Asia/Kolkata"}
    assert hours[-1].start <= now < hours[-1].start + timedelta(hours=1)
    assert hours[-1].counts == {"succeeded": 2, "failed": 0, "canceled": 0}
    assert hours[-4].counts["failed"] == 1
    assert hours[0].counts["canceled"] == 1
    assert sum(hour.total for hour in hours) == 4


class TestAlarm:
    """A broken cluster is one that picked nothing up for a minute although something is due."""

    def test_something_due_that_nobody_picks_up(self, client):
        with within("alpha"):
            change(ask_animal("work"), scheduled_at=timezone.now() - LATE)
            assert statistics.read().is_stuck
        page = client.get("/admin/", headers=HOST).content.decode()
        assert 'role="alert"' in page
        assert "manage.py cluster" in page

    def test_a_minute_has_not_passed(self, client):
        with within("alpha"):
            change(ask_animal("work"), scheduled_at=timezone.now() - timedelta(seconds=50))
        assert 'role="alert"' not in client.get("/admin/", headers=HOST).content.decode()

    def test_a_long_queue_is_worked_through(self, alpha):
        change(ask_animal("work"), scheduled_at=timezone.now() - LATE)
        claim(ask_animal("work", animal="dog"))
        found = statistics.read()
        assert found.oldest_due
        assert not found.is_stuck

    def test_what_waits_behind_another_is_not_due(self, alpha):
        first = ask_animal("work", animal="cat")
        second = ask_animal("work", animal="cat")
        claim(first)
        change(second, scheduled_at=timezone.now() - LATE)
        _forget_signals()
        found = statistics.read()
        assert (found.requested, found.oldest_due, found.is_stuck) == (1, None, False)

    def test_what_waited_behind_one_that_just_ended_is_due_only_since(self, alpha):
        first = ask_animal("work", animal="cat")
        change(ask_animal("work", animal="cat"), scheduled_at=timezone.now() - LATE)
        run(first)
        _forget_signals()
        assert not statistics.read().is_stuck
        change(first, completed_at=timezone.now() - LATE)
        assert statistics.read().is_stuck

    def test_a_lease_that_ran_out_long_ago(self, alpha):
        directive = claim(ask_animal("work"))
        _forget_signals()
        expire_lease(directive)
        assert not statistics.read().is_stuck
        change(directive, lease_expires_at=timezone.now() - LATE)
        assert statistics.read().is_stuck

    def test_snoozed_ones_are_no_alarm(self, alpha):
        change(ask_animal("work"), queued_at=timezone.now() - LATE, scheduled_at=timezone.now() + LATE)
        assert not statistics.read().is_stuck


def test_the_page_shows_numbers_bars_and_failures_escaped(client):
    with within("alpha"):
        failed = ask_animal("refuse", note="x")
        run(failed)
        change(failed, last_error="<script>alert(1)</script> no such cat")
        run(ask_animal("work", animal="dog"))
    page = client.get("/admin/", headers=HOST).content.decode()
    assert "&lt;script&gt;alert(1)&lt;/script&gt; no such cat" in page
    assert "<script>alert(1)" not in page
    assert f"/admin/directives/directive/{failed.pk}/change/" in page
    assert 'aria-label="Directives that ended per hour: 1 succeeded, 1 failed, 0 canceled.' in page
    assert len(re.findall('<th scope="row">', page)) == 24
    assert 'hx-trigger="every 5s' in page


def test_a_part_of_the_page_is_the_page_without_the_menu(client):
    with within("alpha"):
        ask_animal("work")
    part = client.get("/admin/", headers={**HOST, "HX-Request": "true"}).content.decode()
    assert part.strip().startswith('<div id="fp-overview"')
    assert "<html" not in part
    assert "As of" in part


def test_a_new_tenant_is_told_where_to_begin(client):
    page = client.get("/admin/", headers=HOST).content.decode()
    assert "Nothing was asked for yet" in page
    assert "/admin/forums/post/" in page


def test_who_may_not_view_directives_sees_no_figures(database):
    with within("alpha"):
        run(ask_animal("refuse", note="secret"))
    client = logged_in("alpha", make_user("alpha", may=["view_post"]))
    answer = client.get("/admin/", headers=HOST)
    assert answer.status_code == 200
    page = answer.content.decode()
    assert "directives.view_directive" in page
    assert "fp-number" not in page
    assert "every 5s" not in page


@pytest.mark.parametrize("name", ["Moderator", "Auditor"])
def test_moderators_and_auditors_see_it(database, name):
    client = logged_in("alpha", make_user("alpha", groups=[name]))
    assert "fp-number" in client.get("/admin/", headers=HOST).content.decode()


@pytest.mark.long
class TestBig:
    """20,000 directives and 60,000 signals over 90 days: bounded reads, by index."""

    @pytest.fixture
    def big(self, client):
        with within("alpha"):
            fill(directives=20_000, signals=60_000)
        return client

    def test_no_statement_scans_the_tables(self, big):
        with CaptureQueriesContext(connection) as queries:
            big.get("/admin/", headers=HOST)
        assert asked(queries) > 5
        with within("alpha"):
            assert seq_scans(queries) == []

    def test_the_number_of_statements_does_not_grow(self, client, request):
        with within("alpha"):
            change(ask_animal("work"), scheduled_at=timezone.now() - LATE)
            run(ask_animal("refuse", animal="dog"))
            _forget_signals()
        client.get("/admin/", headers=HOST)
        with CaptureQueriesContext(connection) as few:
            client.get("/admin/", headers=HOST)
        big = request.getfixturevalue("big")
        with CaptureQueriesContext(connection) as many:
            big.get("/admin/", headers=HOST)
        assert len(many) <= len(few) + 1 < 50


@pytest.mark.long
def test_a_long_line_behind_a_retry_is_not_walked(alpha):
    _wait_behind_a_retry(5_000)
    with CaptureQueriesContext(connection) as queries:
        found = statistics.read()
    assert (found.oldest_due, found.is_stuck) == (None, False)
    assert seq_scans(queries) == []
    read = [_rows_read(query["sql"]) for query in queries if "queued_at" in query["sql"]]
    assert read
    assert max(read) <= statistics.MAX_EXAMINED
    # One that waits even longer, and for nobody, is found.
    change(other := ask_animal("work", animal="dog"), scheduled_at=timezone.now() - timedelta(days=1))
    assert statistics.read().oldest_due == other.scheduled_at


def _wait_behind_a_retry(count):
    """Let many directives wait in one line behind one that is to be tried again tomorrow."""
    now = timezone.now()
    change(first := ask_animal("work"), scheduled_at=now + timedelta(days=1))
    directives.directive.make(
        count,
        ordering_key=first.ordering_key,
        scheduled_at=now - timedelta(hours=1),
        queued_at=seq(now, increment_by=timedelta(seconds=1)),
        _bulk_create=True,
    )
    with owner_cursor() as cursor:
        cursor.execute("ANALYZE directives_directive")


def _rows_read(sql):
    """Return the largest number of rows that a node of the statement's plan read from the table."""
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}")
        [(plan,)] = cursor.fetchall()
    return max(
        (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        for node in nodes(plan)
        if "Relation Name" in node
    )


def _forget_signals():
    """Let no worker have been seen, as when the last one was seen long ago."""
    with owner_cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("DELETE FROM signals_signal")
    assert not Signal.objects.exists()
    assert Directive.objects.exists()
