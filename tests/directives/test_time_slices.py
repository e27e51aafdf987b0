"""A worker's time slice in a tenant, and the sweep that wakes tenants with overdue work."""

from datetime import timedelta

import pytest
from django.core.cache import cache
from django.db import connection
from django.utils import timezone

from directives import runner, tasks
from directives.executing import attempts
from directives.models import Directive
from directives.queueing import clusters
from fleetprompt.tenants.context import in_tenant, is_public
from fleetprompt.tenants.models import Tenant
from fleetprompt.tenants.provisioning import create_tenant
from signals.models import Signal
from tests.support import ask_animal, claim, crash, lose_wake_ups, messages, owner_cursor, run, states


def ask_roaming(count):
    asked = [ask_animal("roam", str(number)) for number in range(count)]
    lose_wake_ups()
    return asked


def test_the_first_full_batch_sends_one_wake_up_and_the_time_slice_continues(alpha, settings):
    settings.DIRECTIVES_CLAIM_LIMIT, settings.DIRECTIVES_TIME_SLICE_SECONDS = 3, 60
    ask_roaming(7)
    assert tasks.run_time_slice() == 7
    assert messages() == 1
    assert Directive.objects.filter(status="succeeded").count() == 7


def test_a_time_slice_continues_while_its_directives_free_others_behind_them(alpha, settings):
    settings.DIRECTIVES_TIME_SLICE_SECONDS = 60
    asked = [ask_animal("work") for _ in range(5)]
    lose_wake_ups()
    assert tasks.run_time_slice() == 5
    assert states(*asked) == ["succeeded"] * 5
    assert messages() == 0


def test_requests_during_a_time_slice_are_gathered(alpha, settings, monkeypatch):
    settings.DIRECTIVES_TIME_SLICE_SECONDS = 60
    late, learn = [], tasks.learn_batch_size

    def come_late(number, seconds):
        learn(number, seconds)
        if not late:
            late.append(ask_animal("roam", "late"))

    monkeypatch.setattr(tasks, "learn_batch_size", come_late)
    ask_animal("roam", "early")
    assert tasks.run_time_slice() == 2
    [started] = Signal.objects.filter(name="directive.started", causation_id=str(late[0].pk))
    assert (started.occurred_at - late[0].scheduled_at).total_seconds() >= tasks.GATHER_SECONDS


def test_a_time_slice_that_takes_too_long_ends_with_a_wake_up_while_something_is_left(alpha, settings):
    settings.DIRECTIVES_TIME_SLICE_SECONDS = 0
    asked = [ask_animal("work") for _ in range(3)]
    for left in (2, 1):
        lose_wake_ups()
        assert tasks.run_time_slice() == 1
        assert messages() >= 1
        assert states(*asked).count("requested") == left
    assert tasks.run_time_slice() == 1
    lose_wake_ups()
    assert tasks.run_time_slice() == 0
    assert messages() == 0


def test_a_claim_takes_what_fits_into_a_time_slice(database, settings):
    settings.DIRECTIVES_CLAIM_LIMIT, settings.DIRECTIVES_TIME_SLICE_SECONDS = 8, 0.1
    for seconds, expected in ((0.01, 8), (1.0, 1), (0.0, 2), (0.0, 4), (0.0, 8), (0.0, 8)):
        before = tasks.batch_size()
        tasks.learn_batch_size(before, seconds * before)
        assert tasks.batch_size() == expected
    tasks.learn_batch_size(0, 0.01)
    tasks.learn_batch_size(1, 0.01)
    assert tasks.batch_size() == 8, "a claim that found less says nothing against larger ones"


def test_a_time_slice_leaves_wake_ups_for_later_alone(alpha):
    ask_animal("roam", scheduled_at=timezone.now() + timedelta(hours=1))
    assert tasks.work("alpha") == 0
    assert messages() == 1


def test_what_waits_behind_a_full_batch_is_woken_when_it_is_done(alpha, settings):
    settings.DIRECTIVES_TIME_SLICE_SECONDS = 0
    asked = [ask_animal("work", animal) for animal in ("cat", "dog") * 2]
    lose_wake_ups()
    assert tasks.work("alpha") == 2
    assert messages() == 1
    settings.DIRECTIVES_TIME_SLICE_SECONDS = 60
    assert tasks.work("alpha") == 2
    assert states(*asked) == ["succeeded"] * 4


def test_a_time_slice_that_fails_leaves_a_wake_up_and_a_line_in_the_log(alpha, caplog):
    ask_animal("work")
    lose_wake_ups()
    with owner_cursor() as cursor:
        cursor.execute("ALTER TABLE directives_directive RENAME TO directives_gone")
    try:
        with pytest.raises(Exception, match="directives_directive"):
            tasks.work("alpha")
    finally:
        with owner_cursor() as cursor:
            cursor.execute("ALTER TABLE directives_gone RENAME TO directives_directive")
    assert messages() == 1
    assert clusters.state().later == 1, "or what is broken would be tried without a pause"
    assert [r.getMessage() for r in caplog.records if r.name == "directives.tasks"] == [
        "work alpha broke off"
    ]


def test_running_a_few_leaves_a_wake_up_for_the_others(alpha):
    ask_roaming(3)
    assert len(runner.run_due(2)) == 2
    assert messages() == 1


def test_a_wake_up_without_work_does_nothing(database):
    assert tasks.work("alpha") == 0
    assert messages() == 0


def test_a_wake_up_for_a_tenant_that_is_gone_does_nothing(database):
    assert tasks.work("nobody") == 0


def test_a_tenant_that_is_deleted_in_its_time_slice_ends_the_time_slice(database, monkeypatch, caplog):
    with in_tenant("alpha"):
        ask_animal("work", "cat"), ask_animal("work", "dog")
    lose_wake_ups()

    def gone(directive, tenant):
        monkeypatch.undo()
        rename("alpha", "gone")
        return attempts._execute_alone(directive, tenant)

    monkeypatch.setattr(attempts, "_execute_alone", gone)
    try:
        assert tasks.work("alpha") == 0
    finally:
        rename("gone", "alpha")
    assert "broke off" not in caplog.text
    assert messages() == 0


def rename(old, new):
    """Have no tenant `old` any more, schema and all, as long as it is called `new`."""
    with owner_cursor() as cursor:
        cursor.execute(f"ALTER SCHEMA org_{old} RENAME TO org_{new}")
        cursor.execute(
            "UPDATE public.tenants_tenant SET slug = %s, schema_name = %s WHERE slug = %s",
            [new, f"org_{new}", old],
        )


def test_doubled_wake_ups_change_nothing(alpha):
    directive = ask_animal("work")
    assert [tasks.run_time_slice() for _ in range(3)] == [1, 0, 0]
    directive.refresh_from_db()
    assert (directive.status, directive.attempt) == ("succeeded", 1)


def test_the_sweep_wakes_tenants_with_overdue_requests_or_expired_leases_and_no_others(database):
    assert tasks.sweep() == []
    with in_tenant("alpha"):
        ask_animal("work")
    with in_tenant("beta"):
        crash(ask_animal("work"))
    lose_wake_ups()
    assert tasks.sweep() == ["alpha", "beta"]
    assert messages() == 2
    assert tasks.work("alpha") == tasks.work("beta") == 1
    assert tasks.sweep() == []


def test_the_sweep_leaves_alone_what_is_for_later_or_runs_or_waits_or_has_ended(database):
    with in_tenant("alpha"):
        ask_animal("work", scheduled_at=timezone.now() + timedelta(hours=1))
        claim(ask_animal("work", "dog"))
        ask_animal("work", "dog")
        run(ask_animal("refuse", "cow"))
    assert tasks.sweep() == []


def test_the_sweep_leaves_suspended_tenants_alone(database):
    with in_tenant("alpha"):
        ask_animal("work")
    Tenant.objects.filter(slug="alpha").update(status="suspended")
    try:
        assert tasks.sweep() == []
    finally:
        Tenant.objects.filter(slug="alpha").update(status="active")
    assert tasks.sweep() == ["alpha"]


@pytest.mark.parametrize(
    "damage", ["DROP SCHEMA org_aaa CASCADE", "DROP TABLE org_aaa.directives_directive"]
)
def test_a_broken_tenant_does_not_keep_the_others_asleep(database, caplog, damage):
    create_tenant("aaa", name="Broken", domain="aaa.localhost")
    with owner_cursor() as cursor:
        cursor.execute(damage)
    with in_tenant("alpha"):
        ask_animal("work")
    assert tasks.sweep() == ["alpha"]
    assert is_public()
    assert "could not look at the tenant aaa" in caplog.text


def test_the_sweep_removes_what_has_expired_from_the_cache(database):
    cache.set("kept", "a text", 3600)
    cache.set("kept_longer", "x", 7200)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE public.fleetprompt_cache SET expires = expires - interval '90 minutes'")
        tasks.sweep()
        cursor.execute("SELECT count(*) FROM public.fleetprompt_cache")
        assert cursor.fetchone() == (1,)
    assert cache.get("kept_longer") == "x"
