"""Doctor checks of the queue: settings, clocks, clusters, and unclaimed work."""

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone
from django_q.conf import Conf
from django_q.models import OrmQ, Schedule
from django_q.tasks import async_task

from directives import tasks
from directives.monitoring.checks import clock, queueing, work
from directives.monitoring.checks import settings as checks
from directives.queueing import adapter, clusters
from fleetprompt.tenants.context import in_tenant
from fleetprompt.tenants.models import Tenant
from tests.checks import altered, found
from tests.recipes import directives
from tests.support import ask_animal, change, claim, crash, messages, owner_cursor

LATE = timedelta(minutes=10)
IDLE = [
    clock.clock,
    queueing.broker,
    queueing.sweep,
    queueing.sealing,
    queueing.backlog,
    queueing.abandoned,
    queueing.failures,
    work.due,
    work.expired_leases,
    work.unknown_names,
    work.missing_permissions,
]


def test_the_projects_own_lease_is_fine(settings):
    settings.DIRECTIVES_LEASE_SECONDS = 60
    assert found(checks.leases) == {}


@pytest.mark.parametrize(("lease", "number"), [(2, "directives.W005"), (7200, "directives.W006")])
def test_leases_that_are_too_short_or_too_long(settings, lease, number):
    settings.DIRECTIVES_LEASE_SECONDS = lease
    assert list(found(checks.leases)) == [number]


@pytest.mark.parametrize("check", IDLE, ids=lambda check: check.title)
def test_tenants_without_work_are_fine(database, check):
    assert found(check) == {}


@pytest.mark.parametrize(
    ("seconds", "number", "which"),
    [
        (15, "directives.W010", "behind"),
        (-15, "directives.W010", "ahead of"),
        (40, "directives.E010", "behind"),
    ],
)
def test_a_clock_that_is_off(database, settings, seconds, number, which):
    settings.DIRECTIVES_LEASE_SECONDS = 60
    settings.TENANT_LIMIT_SET_CALLS = True
    with altered("CREATE SCHEMA off", "DROP SCHEMA off CASCADE"):
        with owner_cursor() as cursor:
            cursor.execute(
                "CREATE FUNCTION off.clock_timestamp() RETURNS timestamptz LANGUAGE sql"
                f" RETURN pg_catalog.clock_timestamp() + {seconds} * interval '1 s'"
            )
            cursor.execute("GRANT USAGE ON SCHEMA off TO PUBLIC")
        with connection.cursor() as cursor:
            # The session asks the other clock from now on.
            cursor.execute("SET search_path = off, pg_catalog, public")
        [(given, finding)] = found(clock.clock, tenants={}).items()
    assert given == number
    assert f"clock is {abs(seconds)}." in finding.msg or f"clock is {abs(seconds) - 1}.9" in finding.msg
    assert which in finding.msg


def test_a_cluster_that_is_not_there(database):
    assert list(found(queueing.clusters)) == ["directives.E021"]


class TestSchedules:
    """What everything forgotten, and the audit log, rely on."""

    @pytest.fixture(params=[(clusters.SWEEP, queueing.sweep, 22), (clusters.SEAL, queueing.sealing, 25)])
    def schedule(self, request, database):
        """A schedule, its check and the number of its first finding; it is put back after the test."""
        name, check, number = request.param
        found = Schedule.objects.get(name=name)
        yield Schedule.objects.filter(pk=found.pk), check, number
        found.save(force_insert=not Schedule.objects.filter(pk=found.pk).exists())

    def test_it_is_missing(self, schedule):
        mine, check, number = schedule
        mine.delete()
        assert list(found(check)) == [f"directives.E0{number}"]

    @pytest.mark.parametrize(
        "changed", [{"func": "builtins.print"}, {"repeats": 0}, {"cluster": "another"}]
    )
    def test_it_was_changed(self, schedule, changed):
        mine, check, number = schedule
        mine.update(**changed)
        assert list(found(check)) == [f"directives.E0{number + 1}"]

    def test_its_time_has_passed_and_no_cluster_is_there_to_blame(self, schedule):
        mine, check, _ = schedule
        mine.update(next_run=timezone.now() - LATE)
        assert found(check) == {}


def test_wake_ups_that_wait(database):
    with in_tenant("alpha"):
        ask_animal("work")
    assert found(queueing.backlog) == {}
    with connection.cursor() as cursor:
        cursor.execute("UPDATE public.django_q_ormq SET lock = lock - interval '10 minutes'")
    assert "1 wake-ups wait, the first since" in found(queueing.backlog)["directives.W021"].msg


def test_wake_ups_that_are_for_later_do_not_wait(database):
    with in_tenant("alpha") as tenant:
        adapter.wake(tenant, after=3600)
    assert found(queueing.backlog) == {}


def abandon(seconds, *, key="before"):
    """Have all messages wait for clusters of another name, for so long."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE public.django_q_ormq SET key = replace(key, 'fleetprompt', %s),"
            " lock = lock - %s * interval '1 s'",
            [key, seconds],
        )


def test_wake_ups_for_clusters_of_another_name(database):
    with in_tenant("alpha"):
        ask_animal("work")
    async_task(clusters.SCHEDULED[clusters.SEAL])
    abandon(60)
    assert found(queueing.abandoned) == {}
    abandon(600)
    finding = found(queueing.abandoned)["directives.W023"]
    assert finding.msg.startswith("2 messages wait for clusters that are named before and use PostgreSQL")
    assert tasks.sweep() == ["alpha"]
    assert messages() == 3, "they may be on their way"
    abandon(3600, key="again")
    with in_tenant("alpha"):
        ask_animal("work")
    assert tasks.sweep() == ["alpha"]
    assert {message.key for message in OrmQ.objects.all()} == {"fleetprompt:alpha"}
    assert found(queueing.abandoned) == {}


def test_what_others_left_in_the_queue_is_theirs(database):
    async_task("builtins.print")
    OrmQ.objects.create(key="other:alpha", payload="signed by somebody else", lock=timezone.now())
    abandon(7200)
    tasks.sweep()
    assert messages() == 2
    assert list(found(queueing.abandoned)) == ["directives.W023"]


def test_what_postgresql_held_when_redis_became_the_broker(database, monkeypatch):
    with in_tenant("alpha") as tenant:
        adapter.wake(tenant)
    abandon(7200, key="fleetprompt")
    assert found(queueing.abandoned) == {}
    monkeypatch.setattr(Conf, "ORM", None)
    assert list(found(queueing.abandoned)) == ["directives.W023"]
    assert clusters.remove_abandoned() == 1


def test_very_many_wake_ups(database):
    with in_tenant("alpha") as tenant:
        for _ in range(queueing.MAX_WAITING + 1):
            adapter.wake(tenant)
    assert "1001 wake-ups wait" in found(queueing.backlog)["directives.W021"].msg


def test_a_wake_up_that_failed(database):
    now = timezone.now()
    failure = directives.failure.make(name="wake alpha", started=now, stopped=now, result="KeyError: boom")
    assert "wake alpha: KeyError: boom" in found(queueing.failures)["directives.W022"].msg
    type(failure).objects.update(stopped=now - timedelta(days=2))
    assert found(queueing.failures) == {}


def test_a_broker_that_does_not_answer(database, monkeypatch):
    from django_q.brokers.redis_broker import Redis
    from django_q.conf import Conf

    monkeypatch.setattr(Conf, "REDIS", "redis://127.0.0.1:9/0")
    monkeypatch.setattr(clusters, "get_broker", Redis)
    assert list(found(queueing.broker)) == ["directives.E020"]
    # What only the broker could tell is not said to be wrong, too.
    assert found(queueing.clusters) == found(queueing.sweep) == found(queueing.sealing) == {}


def test_work_that_nobody_picks_up(database):
    with in_tenant("beta"):
        directive = ask_animal("work")
        assert found(work.due) == {}
        change(directive, scheduled_at=timezone.now() - LATE)
    finding = found(work.due)["directives.E030"]
    assert finding.obj == ("beta",)
    assert found(work.due, tenants={"org_alpha": "alpha"}) == {}


def test_an_attempt_that_stalled_long_ago(database):
    with in_tenant("alpha"):
        stalled, alive = ask_animal("work", "stalled"), ask_animal("work", "alive")
        crash(stalled)
        claim(alive)
    assert found(work.expired_leases) == {}
    with in_tenant("alpha"):
        change(stalled, lease_expires_at=timezone.now() - LATE)
    finding = found(work.expired_leases)["directives.E031"]
    assert finding.obj == ("alpha",)
    assert finding.msg.startswith("running directives are stalled: 1, the longest since")


def test_what_a_suspended_tenant_holds_waits_rightly(database):
    with in_tenant("alpha"):
        directive = ask_animal("work")
        crash(directive)
        change(directive, lease_expires_at=timezone.now() - LATE)
    Tenant.objects.filter(slug="alpha").update(status=Tenant.Status.SUSPENDED)
    try:
        assert found(work.expired_leases) == found(work.due) == {}
    finally:
        Tenant.objects.filter(slug="alpha").update(status=Tenant.Status.ACTIVE)


def test_a_name_that_nobody_knows(database):
    with in_tenant("alpha"):
        change(ask_animal("work"), name="zoo.animal.vanished")
    finding = found(work.unknown_names)["directives.W030"]
    assert finding.obj == ("alpha",)
    assert "zoo.animal.vanished" in finding.msg


def test_a_directive_type_without_its_permissions(database):
    update = "UPDATE org_beta.auth_permission SET codename = '{}' WHERE codename = '{}'"
    names = ("request_forum.post.was", "request_forum.post.hide")
    with altered(update.format(*names), update.format(*names[::-1])):
        finding = found(work.missing_permissions)["directives.W031"]
    assert (finding.obj, finding.msg.rsplit(" ", 1)[1]) == (("beta",), "forum.post.hide")
