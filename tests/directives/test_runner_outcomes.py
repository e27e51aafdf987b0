"""The five outcomes of running a directive, and the rows and signals after each."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import transaction
from django.utils import timezone

from directives import operations, runner, tasks
from directives.errors import Refused
from directives.models import Directive, Restriction
from directives.outcomes import Kind
from fleetprompt.tenants.context import NoActiveTenant, in_tenant
from fleetprompt.tenants.models import Tenant
from forums.models import Post
from signals.models import Signal
from tests.support import TESTER, ask, ask_animal, claim, effects, make_due, run, signal_names


def hide(forum, **payload):
    return ask("forum.post.hide", {"post_id": str(forum.posts[0].pk), **payload}).directive


def test_success_leaves_the_effect_the_result_and_the_signals(forum):
    directive = hide(forum)
    outcome = run(directive)
    assert (outcome.kind, outcome.directive_id, outcome.reason) == (Kind.SUCCEEDED, directive.id, "")
    assert (directive.status, directive.attempt, directive.lease_expires_at) == ("succeeded", 1, None)
    assert directive.created_at <= directive.started_at <= directive.completed_at
    assert directive.result == {
        "type": "forum.post.hide",
        "tenant": "alpha",
        "post_id": str(forum.posts[0].pk),
        "changed": True,
        "status": "hidden",
        "before": "published",
        "after": "hidden",
        "revision": 2,
        "version": 1,
        "restriction": str(Restriction.objects.get().pk),
    }


def test_every_signal_carries_the_actor_the_subject_the_correlation_and_its_cause(forum):
    directive = hide(forum)
    run(directive)
    signals = Signal.objects.filter(causation_id=str(directive.id))
    assert len(signals) == 4
    for signal in signals:
        assert (signal.actor, signal.subject) == (TESTER, forum.posts[0].subject)
        assert signal.correlation_id == directive.correlation_id
    keys = {signal.name: signal.dedupe_key for signal in signals}
    assert keys["directive.succeeded"] == f"directive.succeeded:alpha:{directive.id}:1"
    assert keys["forum.post.hidden"] == f"forum.post.hidden:alpha:{forum.posts[0].pk}:{directive.id}"


def test_a_subject_in_the_wanted_state_already_succeeds_unchanged(forum):
    run(hide(forum))
    again = hide(forum)
    assert run(again).kind == Kind.SUCCEEDED
    assert again.result["changed"] is False
    assert Post.objects.get(pk=forum.posts[0].pk).revision == 2
    assert signal_names(again) == ["directive.requested", "directive.started", "directive.succeeded"]


@pytest.mark.parametrize(("expected", "kind"), [(1, Kind.SUCCEEDED), (2, Kind.FAILED), (0, Kind.FAILED)])
def test_a_directive_for_one_revision_fails_at_another(forum, expected, kind):
    directive = hide(forum, expected_revision=expected)
    assert run(directive).kind == kind
    assert Post.objects.filter(status="hidden").exists() is (kind == Kind.SUCCEEDED)
    if kind == Kind.FAILED:
        assert "expected_revision: " in directive.last_error
        assert f"is at revision 1, not {expected}" in directive.last_error


def test_a_subject_that_does_not_exist_fails_and_names_it(alpha):
    directive = ask("forum.post.hide", {"post_id": str(uuid4())}).directive
    outcome = run(directive)
    assert outcome.kind == Kind.FAILED
    assert directive.payload["post_id"] in outcome.reason == directive.last_error
    assert directive.attempt == 1, "it can never work, so it is not tried again"


def test_an_id_that_nobody_has_is_discarded(alpha):
    assert runner.run(uuid4()).kind == Kind.DISCARDED
    assert "not found" in runner.run(str(uuid4())).reason


@pytest.mark.parametrize("wrong", ["", "7", None, 7, "x" * 5000])
def test_an_id_that_is_none_is_refused(alpha, wrong):
    with pytest.raises(Refused, match="id: expected a UUID"):
        runner.run(wrong)


def test_a_running_directive_with_a_live_lease_is_discarded_with_or_without_rerun(alpha):
    directive = ask_animal("work")
    claim(directive)
    for rerun in (False, True):
        outcome = run(directive, rerun=rerun)
        assert (outcome.kind, outcome.reason) == (Kind.DISCARDED, "already running, attempt 1")
    assert (directive.status, directive.attempt) == ("running", 1)


@pytest.mark.parametrize("end", ["succeeded", "failed", "canceled"])
def test_a_directive_that_has_ended_is_discarded_unless_rerun(alpha, end):
    directive = ask_animal("refuse" if end == "failed" else "work")
    if end == "canceled":
        operations.cancel(directive.id, actor=TESTER, reason="no")
    first = run(directive)
    attempts = directive.attempt
    outcome = run(directive)
    assert (outcome.kind, outcome.reason) == (Kind.DISCARDED, f"already {end}; rerun it to run it again")
    assert (first.kind == Kind.DISCARDED) is (end == "canceled")
    assert run(directive, rerun=True).kind == (Kind.FAILED if end == "failed" else Kind.SUCCEEDED)
    assert directive.attempt == attempts + 1


def test_a_rerun_that_changes_its_subject_again_says_so_again(forum):
    directive = hide(forum)
    run(directive)
    run(ask("forum.post.unhide", {"post_id": str(forum.posts[0].pk)}).directive)
    run(directive, rerun=True)
    hidden = Signal.objects.filter(name="forum.post.hidden").values_list("dedupe_key", flat=True)
    key = f"forum.post.hidden:alpha:{forum.posts[0].pk}:{directive.id}"
    assert list(hidden) == [key, f"{key}:2"]
    run(directive, rerun=True)
    assert hidden.count() == 2, "the last one found it hidden"


def test_a_directive_that_is_not_due_is_snoozed_and_costs_no_attempt(alpha):
    at = timezone.now() + timedelta(hours=1)
    directive = ask_animal("work", scheduled_at=at)
    outcome = run(directive)
    assert (outcome.kind, outcome.reason) == (
        Kind.SNOOZED,
        f"not due before {at.isoformat(timespec='seconds')}",
    )
    assert (directive.status, directive.attempt) == ("requested", 0)
    make_due(directive)
    assert run(directive).kind == Kind.SUCCEEDED


def test_a_directive_behind_another_on_its_subject_is_discarded_and_names_it(alpha):
    first, second = ask_animal("work"), ask_animal("work")
    outcome = run(second)
    assert outcome.kind == Kind.DISCARDED
    assert str(first.id) in outcome.reason
    assert [run(first).kind, run(second).kind] == [Kind.SUCCEEDED] * 2


def test_a_directive_of_a_suspended_tenant_is_discarded(database):
    with in_tenant("alpha"):
        directive = ask_animal("work")
    Tenant.objects.filter(slug="alpha").update(status="suspended")
    try:
        with in_tenant("alpha"):
            assert "suspended" in run(directive).reason
            assert runner.run_due() == []
            assert tasks.run_time_slice() == 0
    finally:
        Tenant.objects.filter(slug="alpha").update(status="active")
    with in_tenant("alpha"):
        assert run(directive).kind == Kind.SUCCEEDED


def test_nothing_runs_outside_a_tenant(database):
    for call in (lambda: runner.run(uuid4()), runner.run_due, tasks.run_time_slice):
        with pytest.raises(NoActiveTenant):
            call()


@pytest.mark.parametrize("rerun", [False, True])
def test_running_inside_a_transaction_is_refused_and_changes_nothing(alpha, rerun):
    directive = ask_animal("work")
    if rerun:
        run(directive)
    before = Directive.objects.values().get()
    with transaction.atomic():
        # Caught inside, so that what it had changed by then would be committed.
        with pytest.raises(RuntimeError, match="durable"):
            runner.run(directive.id, rerun=rerun)
        with pytest.raises(RuntimeError, match="durable"):
            runner.run_due()
    assert Directive.objects.values().get() == before
    assert effects("cat") == rerun


def test_run_due_runs_everything_that_is_due_and_nothing_else(alpha):
    due = [ask_animal("work", f"cat {number}") for number in range(30)]
    ask_animal("work", scheduled_at=timezone.now() + timedelta(hours=1))
    outcomes = runner.run_due()
    assert [outcome.directive_id for outcome in outcomes] == [directive.id for directive in due]
    assert {outcome.kind for outcome in outcomes} == {Kind.SUCCEEDED}
    assert runner.run_due() == []


@pytest.mark.parametrize("limit", [0, 1, 25])
def test_run_due_runs_no_more_than_it_may(alpha, limit):
    for number in range(30):
        ask_animal("work", f"cat {number}")
    assert len(runner.run_due(limit)) == limit
    assert Directive.objects.filter(status="succeeded").count() == limit
    assert not Directive.objects.filter(status="running").exists()
