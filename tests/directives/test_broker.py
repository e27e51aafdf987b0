"""PostgreSQL's broker: each message is taken once, in order, together with the others of its tenant."""

import threading
import time
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_q.conf import Conf
from django_q.signals import pre_execute
from django_q.signing import SignedPackage
from django_q.tasks import async_task
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from directives.queueing import adapter, clusters
from directives.queueing.broker import MAX_COMPARED, Broker
from fleetprompt.tenants.models import Tenant
from tests.support import in_threads, lose_wake_ups, messages, wait_until


@pytest.fixture(autouse=True)
def _in_steps(monkeypatch):
    """Have a look at the table whenever the test asks for one."""
    monkeypatch.setattr(Conf, "POLL", 0.001)


@pytest.fixture
def bulk(monkeypatch):
    return lambda number: monkeypatch.setattr(Conf, "BULK", number)


def tenant(slug):
    return Tenant(slug=slug, schema_name=f"org_{slug}")


def wake(*slugs, **when):
    for slug in slugs:
        adapter.wake(tenant(slug), **when)


def unpack(taken):
    return [SignedPackage.loads(payload) for _, payload in taken]


def take(broker):
    """Return the slugs of the tenants that a look finds woken."""
    time.sleep(0.002)
    return [slug for task in unpack(broker.dequeue()) for slug in task["args"]]


def age(slug, seconds):
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE public.django_q_ormq SET lock = lock - %s * interval '1 s' WHERE key LIKE %s",
            [seconds, f"%:{slug}"],
        )


def test_a_thousand_wake_ups_of_one_tenant_are_taken_as_one(database):
    wake(*["alpha"] * 1000)
    assert messages() == 1000
    broker = Broker()
    assert take(broker) == ["alpha"]
    assert messages() == 0
    assert take(broker) == []


def test_the_longest_waiting_tenants_come_first_and_no_more_than_a_cluster_fetches(database, bulk):
    bulk(2)
    wake("gamma", "alpha", "beta", "gamma", "delta")
    for seconds, slug in enumerate(["delta", "beta", "alpha", "gamma"], start=1):
        age(slug, seconds)
    broker = Broker()
    assert [take(broker) for _ in range(3)] == [["gamma", "alpha"], ["beta", "delta"], []]


def test_a_tenant_that_always_has_work_waits_behind_one_that_seldom_has(database, bulk):
    bulk(1)
    broker, found = Broker(), []
    for number in range(6):
        wake("busy")
        if number == 3:
            wake("seldom")
        found += take(broker)
        wake("busy")
    assert found == ["busy"] * 3 + ["seldom"] + ["busy"] * 2


def test_a_tenant_behind_very_many_messages_needs_no_other_notification(database, monkeypatch, bulk):
    bulk(5)
    wake(*["alpha"] * (MAX_COMPARED + 5), "beta")
    monkeypatch.setattr(Conf, "POLL", 30)
    broker = Broker()
    assert [take(broker), take(broker)] == [["alpha"], ["beta"]]


def test_other_tasks_are_taken_each_by_itself(database, bulk):
    bulk(10)
    for number in range(3):
        async_task("builtins.print", number)
    wake("alpha", "alpha")
    assert [task["args"] for task in unpack(Broker().dequeue())] == [(0,), (1,), (2,), ("alpha",)]
    assert messages() == 0


def test_a_wake_up_for_later_is_taken_at_its_time(database, monkeypatch):
    monkeypatch.setattr(Conf, "POLL", 30)
    at = timezone.now() + timedelta(seconds=0.3)
    wake("alpha", after=0.3)
    broker = Broker()
    assert take(broker) == []
    # Far earlier than the next look that nobody asked for.
    assert wait_until(lambda: take(broker), "its time comes", seconds=15) == ["alpha"]
    assert timezone.now() >= at


def test_a_wake_up_for_now_leaves_one_for_later_where_it_is(database):
    wake("alpha")
    wake("alpha", after=3600)
    broker = Broker()
    assert (take(broker), messages()) == (["alpha"], 1)
    assert (clusters.state().waiting, clusters.state().later) == (0, 1)
    assert (broker.queue_size(), broker.lock_size()) == (0, 1)


def test_what_commits_after_the_others_were_taken_is_taken_then(database):
    stored, taken = threading.Event(), threading.Event()

    def slow():
        with transaction.atomic():
            wake("alpha")
            stored.set()
            assert taken.wait(20)

    def fast():
        assert stored.wait(20)
        wake("alpha", "alpha")
        broker = Broker()
        found = [take(broker), take(broker)]
        taken.set()
        return found

    assert in_threads(slow, fast)[1] == [["alpha"], []]
    assert take(Broker()) == ["alpha"]


def test_what_is_rolled_back_was_never_there(database):
    with transaction.atomic():
        wake("alpha")
        transaction.set_rollback(True)
    assert take(Broker()) == []


@pytest.mark.parametrize("number", [1, 3])
def test_clusters_that_take_at_once_take_each_tenants_wake_ups_once(database, bulk, number):
    bulk(number)
    slugs = [f"t{count}" for count in range(40)]
    wake(*slugs * 3)

    def drain():
        broker, found = Broker(), []
        while messages():
            found += take(broker)
        return found

    shares = in_threads(*[drain] * 4)
    assert sorted(slug for share in shares for slug in share) == sorted(slugs)


@pytest.mark.parametrize("other", ["fleetprom", "fleetprompt2", "fleet%", "fleetpromp_", "FLEETPROMPT"])
def test_clusters_of_another_name_take_nothing(database, other):
    wake("alpha")
    async_task("builtins.print")
    broker = Broker(other)
    assert (take(broker), broker.queue_size(), messages()) == ([], 0, 2)
    broker.purge_queue()
    assert messages() == 2
    Broker().purge_queue()
    assert messages() == 0


def test_a_session_that_the_server_ends_is_replaced(database):
    broker = Broker()
    assert take(broker) == []
    [session] = in_threads(lambda: end_sessions())
    assert session
    assert take(broker) == []
    wake("alpha")
    assert take(broker) == ["alpha"]


def end_sessions():
    """End all other sessions of this database."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 20000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return cursor.fetchall()


def test_a_wake_up_is_one_statement_and_costs_no_savepoint(database):
    wake("alpha")
    with transaction.atomic(), CaptureQueriesContext(connection) as queries:
        adapter.wake(tenant("alpha"), after=3600)
    said = [query["sql"].split()[0] for query in queries if "search_path" not in query["sql"]]
    assert said == ["WITH"]
    assert messages() == 2


def test_tasks_that_come_from_one_message_are_told_apart(database):
    """What fails is kept under its task's id, and a second failure is a second row."""
    wake("alpha", "alpha")
    with connection.cursor() as cursor:
        cursor.execute("SELECT payload FROM public.django_q_ormq")
        first, second = [SignedPackage.loads(payload) for [payload] in cursor.fetchall()]
    assert first["id"] == second["id"]
    before = timezone.now()
    for task in (first, second):
        pre_execute.send(sender="django_q", func=None, task=task)
    assert first["id"] != second["id"]
    assert first["started"] >= before


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("wake"), st.sampled_from("abcd")),
        st.tuples(st.just("later"), st.sampled_from("abcd")),
        st.tuples(st.just("take"), st.integers(1, 3)),
    ),
    max_size=25,
)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_whatever_comes_each_tenant_is_taken_once_for_all_that_woke_it_in_order(database, bulk, steps):
    lose_wake_ups()
    broker, waiting, served, later = Broker(), [], [], 0

    def in_order(number):
        first = sorted(waiting, key=lambda slug: served.index(slug) if slug in served else -1)[:number]
        for slug in first:
            waiting.remove(slug)
        served[:] = [slug for slug in served if slug not in first] + first
        return first

    for step, what in steps:
        if step == "wake":
            wake(what)
            waiting += [what] if what not in waiting else []
        elif step == "later":
            wake(what, after=3600)
            later += 1
        else:
            bulk(what)
            assert take(broker) == in_order(what)
    bulk(10)
    assert take(broker) == in_order(10)
    assert messages() == later


def test_a_cluster_is_seen_behind_one_that_died_and_reading_changes_nothing(database):
    broker = Broker("fleetprompt")
    for name in ("dead", "alive"):
        broker.set_stat(f"{Conf.Q_STAT}:{name}", name, 60)
    broker.cache.delete(f"{Conf.Q_STAT}:dead")
    with CaptureQueriesContext(connection) as queries:
        assert broker.get_stats("") == ["alive"]
    assert all(query["sql"].startswith("SELECT") for query in queries)
    assert broker.get_stats("") == ["alive"]
