"""Expired leases, attempts and the fence: nothing is lost, nothing doubled, nothing repeated endlessly."""

from datetime import timedelta

import pytest
from django.utils import timezone

from directives import runner
from directives.executing import attempts, recording
from directives.executing.retry import RetryPolicy
from directives.lifecycle import queries
from directives.models import Directive
from directives.outcomes import Kind
from forums.models import Post
from signals.models import Signal
from tests.recipes import directives
from tests.support import (
    ask,
    ask_animal,
    begun,
    change,
    claim,
    crash,
    effects,
    expire_lease,
    gate,
    make_due,
    meanwhile,
    messages,
    run,
    signal_names,
    states,
    wait_until,
)


def turned_over(times):
    """Let one worker hang in the first attempt, another take the directive over; return both outcomes."""
    directive = ask_animal("wait", note="here", times=times)
    with gate("here") as opened, meanwhile(lambda: runner.run(directive.id)) as outcomes:
        wait_until(lambda: begun(directive), "the first attempt runs")
        expire_lease(directive)
        second = runner.run(directive.id)
        opened()
    directive.refresh_from_db()
    return directive, outcomes[0], second


def test_a_stalled_attempt_is_taken_over_and_leaves_a_signal(alpha):
    directive = ask_animal("work")
    crash(directive)
    assert run(directive).kind == Kind.SUCCEEDED
    assert directive.attempt == 2
    assert effects("cat") == 1
    assert signal_names(directive) == [
        "directive.requested",
        "directive.started",
        "directive.recovered",
        "directive.started",
        "zoo.animal.worked",
        "directive.succeeded",
    ]
    recovered = Signal.objects.get(name="directive.recovered")
    assert recovered.payload == {"name": "zoo.animal.work", "attempt": 1, "began": True}


def test_an_attempt_that_comes_back_from_the_dead_is_refused_with_all_it_did(alpha):
    directive, first, second = turned_over(times=1)
    assert second.kind == Kind.SUCCEEDED
    assert (first.kind, "attempt 1 of" in first.reason) == (Kind.DISCARDED, True)
    assert directive.result["attempt"] == 2
    assert effects("cat here") == 1
    assert signal_names(directive).count("zoo.animal.waited") == 1
    assert signal_names(directive).count("directive.succeeded") == 1


def test_an_attempt_that_fails_after_it_was_taken_over_leaves_no_trace(alpha):
    directive = ask_animal("stumble", times=1)
    stale = claim(directive)
    attempts._begin(stale)
    expire_lease(directive)
    assert run(directive).kind == Kind.SUCCEEDED
    before = Directive.objects.values().get()
    with_error = recording.record_failure(stale, RetryPolicy(), runner.active_tenant(), ValueError("late"))
    assert with_error.kind == Kind.DISCARDED
    assert Directive.objects.values().get() == before
    assert "directive.failed" not in signal_names(directive)


def test_a_worker_that_lost_its_claim_before_it_began_does_not_begin(alpha):
    directive = ask_animal("work")
    stale = claim(directive)
    expire_lease(directive)
    assert run(directive).kind == Kind.SUCCEEDED
    assert attempts._execute_alone(stale, runner.active_tenant()).kind == Kind.DISCARDED
    assert effects("cat") == 1


def test_a_directive_whose_attempts_all_stalled_fails(alpha):
    directive = ask_animal("die")
    assert directive.max_attempts == 3
    for attempt in (1, 2, 3):
        crash(directive)
        assert directive.attempt == attempt
    outcome = run(directive)
    assert outcome.kind == Kind.FAILED
    assert directive.last_error == "LeaseExpired: the lease of attempt 3 expired, and it was the last one"
    assert (directive.status, directive.attempt, directive.lease_expires_at) == ("failed", 3, None)
    assert signal_names(directive)[-2:] == ["directive.recovered", "directive.failed"]


def test_an_attempt_that_never_began_is_not_charged(alpha):
    directive = ask_animal("die")
    for _ in range(10):
        crash(directive, begun=False)
    assert (directive.attempt, directive.max_attempts) == (10, 12)
    assert run(directive).kind == Kind.SUCCEEDED
    assert directive.attempt == 11, "numbers are never used twice"


def test_stalled_ones_that_had_begun_are_run_last(alpha):
    suspect, mate, fresh = (ask_animal("work", animal) for animal in ("cat", "dog", "cow"))
    crash(suspect)
    crash(mate, begun=False)
    assert [outcome.directive_id for outcome in runner.run_due()] == [fresh.id, mate.id, suspect.id]


def test_the_last_stalled_attempt_wakes_a_worker_for_those_behind_it(alpha):
    first, second = ask_animal("work"), ask_animal("work")
    change(first, max_attempts=1)
    crash(first)
    before = messages()
    assert run(first).kind == Kind.FAILED
    assert messages() == before + 1
    assert states(second) == ["requested"]


def test_a_batch_keeps_its_leases_while_it_is_worked_through(alpha):
    asked = [ask_animal("roam", str(number), seconds=0.5) for number in range(4)]
    with meanwhile(runner.run_due) as outcomes:
        # The last one begins after longer than the lease that a claim gives.
        wait_until(lambda: begun(asked[-1]) or queries.stalled().exists(), "the last of the batch runs")
        assert not queries.stalled().exists()
    assert [outcome.kind for outcome in outcomes[0]] == [Kind.SUCCEEDED] * 4
    assert set(Directive.objects.values_list("attempt", flat=True)) == {1}


def test_a_name_that_this_worker_does_not_know_is_tried_again_later(alpha, caplog):
    directive = directives.directive.make(name="forum.thread.paint")
    directive.refresh_from_db()
    outcome = run(directive)
    assert outcome.kind == Kind.RETRY_SCHEDULED
    assert "does not know the name forum.thread.paint" in directive.last_error
    assert (directive.status, directive.attempt) == ("requested", 1)
    assert directive.scheduled_at > timezone.now()
    change(directive, name="zoo.animal.work", payload={"animal": "cat"})
    make_due(directive)
    assert run(directive).kind == Kind.SUCCEEDED, "once a worker knows it"


def test_a_name_that_nobody_ever_knows_fails_in_the_end(alpha):
    directive = ask_animal("work")
    change(directive, name="forum.thread.paint")
    outcomes = []
    while directive.status == "requested":
        make_due(directive)
        outcomes.append(run(directive).kind)
    assert outcomes == [Kind.RETRY_SCHEDULED] * 4 + [Kind.FAILED]


def test_a_rerun_of_a_created_post_posts_once(forum):
    payload = {
        "thread_id": str(forum.thread.pk),
        "content": "hi",
        "author_id": "bot",
        "client_request_id": "1",
    }
    directive = ask("forum.post.create", payload).directive
    crash(directive)
    for changed in (True, False, False):
        assert run(directive, rerun=True).kind == Kind.SUCCEEDED
        assert directive.result["changed"] is changed
    post = Post.objects.get(content="hi")
    assert (post.directive_id, str(post.pk)) == (directive.id, directive.result["post_id"])
    assert Signal.objects.filter(name="forum.post.created", causation_id=str(directive.id)).count() == 1
    assert directive.attempt == 4


@pytest.mark.parametrize("status", ["locked", "archived"])
def test_nobody_posts_in_a_closed_thread(forum, status):
    type(forum.thread).objects.update(status=status)
    payload = {
        "thread_id": str(forum.thread.pk),
        "content": "hi",
        "author_id": "bot",
        "client_request_id": "1",
    }
    directive = ask("forum.post.create", payload).directive
    assert run(directive).kind == Kind.FAILED
    assert f"is {status}" in directive.last_error
    assert not Post.objects.filter(content="hi").exists()


def test_a_lease_lasts_as_long_as_the_handler_may_take_and_a_bit(alpha):
    directive = ask_animal("wait", note="here", times=1)
    with gate("here") as opened, meanwhile(lambda: runner.run(directive.id)):
        wait_until(lambda: begun(directive), "it runs")
        directive.refresh_from_db()
        lease = directive.lease_expires_at - directive.started_at
        assert lease > timedelta(seconds=5), "the handler's own limit"
        opened()
