"""Directives on one subject execute in the order of their requests, one at a time; others do not wait."""

import threading
from contextlib import contextmanager
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import transaction
from django.utils import timezone

from directives import operations, runner
from directives.lifecycle import claims
from directives.models import Directive
from directives.outcomes import Kind
from fleetprompt.tenants.context import in_tenant
from forums.models import Post, Thread
from tests.support import (
    TESTER,
    ask,
    ask_animal,
    begun,
    claim,
    crash,
    expire_lease,
    gate,
    in_threads,
    make_due,
    meanwhile,
    run,
    states,
    wait_until,
)


def ran():
    return [outcome.directive_id for outcome in runner.run_due()]


def later():
    return timezone.now() + timedelta(hours=1)


def test_one_subjects_directives_run_in_the_order_of_their_requests(forum):
    payload = {"thread_id": str(forum.thread.pk)}
    names = ["lock", "unlock", "lock", "unlock", "lock"]
    asked = [ask(f"forum.thread.{name}", payload).directive for name in names]
    assert ran() == [directive.id for directive in asked]
    assert all(directive["changed"] for directive in Directive.objects.values_list("result", flat=True))
    assert Thread.objects.get().revision == 6


def test_a_claim_takes_only_the_first_of_each_subject(alpha):
    first = [ask_animal("work", animal) for animal in ("cat", "dog")]
    second = [ask_animal("work", animal) for animal in ("cat", "dog")]
    assert states(*first, *second) == ["requested"] * 4
    with in_tenant("alpha") as tenant:
        claimed = claims.claim(tenant, 10, token=uuid4()).directives
    assert [directive.id for directive in claimed] == [directive.id for directive in first]


def test_directives_without_an_order_are_claimed_together(alpha):
    asked = [ask_animal("roam") for _ in range(5)]
    with in_tenant("alpha") as tenant:
        assert len(claims.claim(tenant, 10, token=uuid4()).directives) == len(asked)


def test_a_directive_that_waits_for_its_retry_holds_back_the_later_ones_on_its_subject(alpha):
    first, second, other = (
        ask_animal("stumble", times=1, seconds=3600),
        ask_animal("work"),
        ask_animal("work", "dog"),
    )
    assert ran() == [first.id, other.id]
    assert states(first, second) == ["requested", "requested"]
    assert run(second).kind == Kind.DISCARDED
    make_due(first)
    assert ran() == [first.id, second.id]


def test_a_snoozed_directive_does_not_hold_back_the_later_ones(alpha):
    first, second = ask_animal("work"), ask_animal("work")
    operations.snooze(first.id, later(), actor=TESTER, reason="not now")
    assert ran() == [second.id]


def test_a_snoozed_retry_does_not_hold_back_the_later_ones_either(alpha):
    first, second = ask_animal("stumble", times=1, seconds=3600), ask_animal("work")
    run(first)
    operations.snooze(first.id, later(), actor=TESTER, reason="not now")
    assert ran() == [second.id]


def test_a_directive_for_later_does_not_hold_back_those_that_are_due(alpha):
    ask_animal("work", scheduled_at=later())
    second = ask_animal("work")
    assert ran() == [second.id]


def test_a_canceled_directive_frees_the_line(alpha):
    first, second = ask_animal("stumble", times=1, seconds=3600), ask_animal("work")
    run(first)
    operations.cancel(first.id, actor=TESTER, reason="no")
    assert ran() == [second.id]


def test_a_failed_directive_frees_the_line(alpha):
    first, second = ask_animal("refuse"), ask_animal("work")
    assert ran() == [first.id, second.id]
    assert states(first, second) == ["failed", "succeeded"]


def test_a_rerun_goes_to_the_end_of_the_line(alpha):
    first = ask_animal("work")
    run(first)
    second = ask_animal("work")
    operations.rerun(first.id, actor=TESTER, reason="again")
    assert ran() == [second.id, first.id]


def test_a_running_directive_holds_back_even_what_stands_before_it(alpha):
    first, second = ask_animal("work"), ask_animal("work")
    operations.snooze(first.id, later(), actor=TESTER, reason="not now")
    claim(second)
    Directive.objects.filter(pk=first.pk).update(scheduled_at=first.created_at, queued_at=first.created_at)
    assert ran() == []
    expire_lease(second)
    assert ran() == [second.id, first.id]


def test_a_stalled_directive_runs_before_the_later_ones_on_its_subject(alpha):
    first, second = ask_animal("work"), ask_animal("work")
    crash(first)
    assert ran() == [first.id, second.id]


def test_the_last_stalled_attempt_frees_the_line_at_once(alpha):
    first, second = ask_animal("work"), ask_animal("work")
    Directive.objects.filter(pk=first.pk).update(max_attempts=1)
    crash(first)
    outcomes = runner.run_due()
    assert [outcome.kind for outcome in outcomes] == [Kind.FAILED, Kind.SUCCEEDED]
    assert states(first, second) == ["failed", "succeeded"]


def test_a_second_worker_does_not_touch_a_subject_that_is_being_worked_on(alpha):
    first, second = ask_animal("wait", note="here", times=1), ask_animal("work")
    with gate("here") as opened, meanwhile(lambda: runner.run(first.id)) as outcomes:
        wait_until(lambda: begun(first), "the first one runs")
        assert runner.run_due() == []
        assert str(first.id) in runner.run(second.id).reason
        opened()
    assert outcomes[0].kind == Kind.SUCCEEDED
    assert run(second).kind == Kind.SUCCEEDED


def test_a_request_that_commits_late_waits_for_the_later_one_that_is_running(alpha):
    asked, may_commit = threading.Event(), threading.Event()

    def request_slowly():
        with transaction.atomic():
            directive = ask_animal("work")
            asked.set()
            may_commit.wait(30)
        return directive

    with meanwhile(request_slowly) as early:
        asked.wait(30)
        second = ask_animal("work")
        claim(second)
        may_commit.set()
    assert early[0].queued_at < second.queued_at
    assert ran() == []
    assert str(second.id) in run(early[0]).reason
    expire_lease(second)
    assert ran() == [second.id, early[0].id]


@contextmanager
def late_commit(function):
    """Let a request in another transaction be made before the block, and commit when the block says so."""
    asked, may_commit = threading.Event(), threading.Event()

    def request_slowly():
        with transaction.atomic():
            directive = function()
            asked.set()
            may_commit.wait(30)
        return directive

    with meanwhile(request_slowly) as results:
        asked.wait(30)
        try:
            yield lambda: (may_commit.set(), wait_until(lambda: results, "it is committed"))
        finally:
            may_commit.set()


@pytest.mark.parametrize("claimed_meanwhile", [False, True])
def test_the_order_is_by_place_among_what_is_committed_at_the_claim(forum, claimed_meanwhile):
    payload = {"thread_id": str(forum.thread.pk)}
    with late_commit(lambda: ask("forum.thread.lock", payload).directive) as commit:
        unlock = ask("forum.thread.unlock", payload).directive
        order = ran() if claimed_meanwhile else []
        commit()
    lock = Directive.objects.get(name="forum.thread.lock")
    assert lock.queued_at < unlock.queued_at
    order += ran()
    assert order == ([unlock.id, lock.id] if claimed_meanwhile else [lock.id, unlock.id])
    assert Thread.objects.get().status == ("locked" if claimed_meanwhile else "open")


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_that_claim_at_the_same_time_share_the_work_and_keep_the_order(forum, workers):
    asked = []
    for _ in range(6):
        for post in forum.posts:
            for name in ("hide", "unhide"):
                asked.append(ask(f"forum.post.{name}", {"post_id": str(post.pk)}).directive)
    for outcomes in in_threads(*[lambda: runner.run_due()] * workers):
        assert not isinstance(outcomes, Exception), outcomes
    runner.run_due()
    assert states(*asked) == ["succeeded"] * len(asked)
    assert all(Directive.objects.values_list("result__changed", flat=True)), (
        "each changed what the last one left"
    )
    assert set(Post.objects.values_list("status", "revision")) == {("published", 13)}
    assert set(Directive.objects.values_list("attempt", flat=True)) == {1}
