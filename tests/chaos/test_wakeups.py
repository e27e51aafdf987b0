"""Lost, duplicate, late and early wake-ups change no outcome, because workers read the directives table."""

from datetime import timedelta

import pytest
from django.utils import timezone

from directives import tasks
from directives.models import Directive
from directives.queueing import adapter
from fleetprompt.tenants.context import in_tenant
from fleetprompt.tenants.models import Tenant
from signals.models import Signal
from tests.support import (
    TENANTS,
    ask_animal,
    effects,
    ended,
    lose_wake_ups,
    messages,
    qcluster,
    signal_names,
    states,
    wait_until,
)


@pytest.fixture
def log(tmp_path):
    return tmp_path / "qcluster.log"


def all_ended(directives, slug="alpha"):
    with in_tenant(slug):
        return ended(directives)


def test_lost_wake_ups_are_made_up_for_by_the_sweep(database, log):
    with in_tenant("alpha"):
        directives = [ask_animal("work", f"cat {number % 3}") for number in range(9)]
    lose_wake_ups()
    with qcluster(log):
        with in_tenant("beta"):
            other = ask_animal("work")
        wait_until(lambda: all_ended([other], "beta"), "the cluster works")
        with in_tenant("alpha"):
            assert states(*directives) == ["requested"] * 9
        assert tasks.sweep() == ["alpha"]
        wait_until(lambda: all_ended(directives), "all have ended")
    with in_tenant("alpha"):
        assert states(*directives) == ["succeeded"] * 9


@pytest.mark.long
def test_one_wake_up_is_enough_for_everything_that_waits(database, log):
    with in_tenant("alpha") as tenant:
        directives = [ask_animal("work", f"cat {number % 10}") for number in range(60)]
        lose_wake_ups()
        adapter.wake(tenant)
    with qcluster(log):
        wait_until(lambda: all_ended(directives), "all have ended")


@pytest.mark.long
def test_doubled_wake_ups_run_nothing_twice(database, log):
    with in_tenant("alpha") as tenant:
        directives = [ask_animal("work", f"cat {number % 5}", note=str(number)) for number in range(10)]
        for _ in range(60):
            adapter.wake(tenant)
        assert messages() == 70
    with qcluster(log, workers=4):
        wait_until(lambda: not messages() and all_ended(directives), "every wake-up is used up")
    with in_tenant("alpha"):
        assert states(*directives) == ["succeeded"] * 10
        assert set(Directive.objects.values_list("attempt", flat=True)) == {1}
        assert [effects(f"cat {number % 5} {number}") for number in range(10)] == [1] * 10
        assert Signal.objects.count() == 10 * 4


@pytest.mark.long
def test_a_wake_up_for_a_tenant_that_is_gone_or_suspended_hurts_nobody(database, log):
    gone = Tenant(slug="gone", schema_name="org_gone")
    with in_tenant("alpha"):
        adapter.wake(gone)
        directive = ask_animal("work")
    with qcluster(log, workers=1):
        wait_until(lambda: all_ended([directive]), "the other tenant's time slice")


def test_what_is_due_later_runs_then_without_a_sweep(database, log):
    at = timezone.now() + timedelta(seconds=4)
    with in_tenant("alpha"):
        planned = ask_animal("work", "planned", scheduled_at=at)
        retried = ask_animal("stumble", "retried", times=2, seconds=0.5)
        behind = ask_animal("work", "retried")
    directives = [planned, retried, behind]
    with qcluster(log):
        wait_until(lambda: all_ended(directives), "all have ended")
    with in_tenant("alpha"):
        assert states(*directives) == ["succeeded"] * 3
        for directive in directives:
            directive.refresh_from_db()
        assert planned.started_at >= at
        assert planned.attempt == 1
        assert retried.attempt == 3
        assert behind.started_at > retried.completed_at
        assert signal_names(retried).count("directive.retry_scheduled") == 2


@pytest.mark.long
def test_two_tenants_get_time_slices_alternately(database, log):
    directives = {}
    for slug in TENANTS:
        with in_tenant(slug):
            directives[slug] = [ask_animal("work", str(number), seconds=0.02) for number in range(45)]
    lose_wake_ups()
    assert tasks.sweep() == ["alpha", "beta"]
    with qcluster(log, workers=1):
        for slug in TENANTS:
            wait_until(lambda slug=slug: all_ended(directives[slug], slug), f"{slug} is done")
    spans = {}
    for slug in TENANTS:
        with in_tenant(slug):
            times = Directive.objects.order_by("started_at").values_list("started_at", flat=True)
            spans[slug] = times[0], times[len(times) - 1]
    (first, last), (other_first, other_last) = spans.values()
    assert max(first, other_first) < min(last, other_last), "neither waited until the other was done"
