"""A tenant that is suspended or deleted while processes work in it: they stop within one claim."""

from contextlib import contextmanager

import pytest

from directives import runner, tasks
from directives.errors import Refused
from directives.models import Directive
from directives.outcomes import Kind
from directives.requests import request_each, request_many
from fleetprompt.tenants.context import in_tenant
from fleetprompt.tenants.models import Tenant
from fleetprompt.tenants.provisioning import create_tenant, delete_tenant
from signals.models import Signal
from tests.directives.commands import directive
from tests.support import TESTER, ask_animal, crash, in_threads, messages, run, states


def set_status(status):
    Tenant.objects.filter(slug="alpha").update(status=status)


@contextmanager
def suspended():
    set_status("suspended")
    try:
        yield
    finally:
        set_status("active")


def test_the_command_line_says_that_it_runs_nothing(database):
    with suspended():
        assert "alpha is suspended, and runs no directives" in directive("run").error


def test_run_due_stops_within_one_claim(alpha, settings):
    settings.DIRECTIVES_CLAIM_LIMIT = 3
    asked = [ask_animal("roam", str(number)) for number in range(9)]
    outcomes = runner.iterate_due()
    done = [next(outcomes)]
    with suspended():
        done += outcomes
        assert runner.run_due() == []
        assert runner.run(asked[-1].pk).reason == "tenant alpha is suspended"
    assert len(done) == 3
    assert states(*asked).count("requested") == 6
    assert len(runner.run_due()) == 6


def test_a_workers_time_slice_stops_within_one_claim(alpha, settings, monkeypatch):
    settings.DIRECTIVES_CLAIM_LIMIT, settings.DIRECTIVES_TIME_SLICE_SECONDS = 3, 60
    asked = [ask_animal("roam", str(number)) for number in range(9)]
    learn = tasks.learn_batch_size

    def suspend(number, seconds):
        learn(number, seconds)
        set_status("suspended")

    monkeypatch.setattr(tasks, "learn_batch_size", suspend)
    try:
        assert tasks.run_time_slice() == 3
        before = messages()
        assert tasks.run_time_slice() == 0
        assert messages() == before, "it is not woken for what it may not run"
    finally:
        set_status("active")
    assert states(*asked).count("requested") == 6


def test_a_stalled_directive_of_a_suspended_tenant_is_left_alone(alpha):
    directive = ask_animal("work")
    crash(directive)
    with suspended():
        assert runner.run_due() == []
        assert "suspended" in runner.run(directive.pk).reason
        assert states(directive) == ["running"]
    assert run(directive).kind == Kind.SUCCEEDED


def test_a_rerun_in_a_block_that_was_entered_before_is_discarded(alpha):
    directive = ask_animal("work")
    run(directive)
    with suspended():
        assert "suspended" in runner.run(directive.pk, rerun=True).reason
    assert states(directive) == ["succeeded"]


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("ask", [request_many, request_each])
def test_a_request_in_a_block_that_was_entered_before_is_refused(alpha, ask, number):
    items = [("zoo.animal.work", {"animal": f"cat {n}"}) for n in range(number)]
    with suspended(), pytest.raises(Refused, match="tenant: alpha is suspended"):
        ask(items, actor=TESTER)
    assert (Directive.objects.count(), Signal.objects.count(), messages()) == (0, 0, 0)
    assert len(ask(items, actor=TESTER)) == number


def test_a_tenant_that_is_deleted_meanwhile_has_nothing_due(database, caplog):
    create_tenant("gone", name="Gone", domain="gone.localhost")
    with in_tenant("gone") as tenant:
        directive = ask_animal("work")
        before = messages()
        [none] = in_threads(lambda: delete_tenant("gone"), tenant="gone")
        assert none is None
        assert runner.run_due() == []
        assert tasks.run_time_slice() == 0
        assert runner.run(directive.pk).reason == "tenant gone is deleted"
        assert tenant.status == "deleted"
        assert messages() == before
    assert tasks.work("gone") == 0
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_the_sweep_does_not_wake_what_was_suspended_during_it(database, monkeypatch):
    with in_tenant("alpha"):
        ask_animal("work")

    enter = tasks.in_tenant

    def suspend_first(slug):
        set_status("suspended")
        return enter(slug)

    monkeypatch.setattr(tasks, "in_tenant", suspend_first)
    try:
        assert tasks.sweep() == []
    finally:
        set_status("active")
