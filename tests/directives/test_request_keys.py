"""Idempotency keys: a repeated request is one directive, a different request another."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from directives import operations, runner
from directives.errors import KeyConflict
from directives.models import Directive
from directives.requests import request_many
from forums.models import Thread
from tests.support import TESTER, ask, in_threads, messages, run, signal_names


def lock(forum, **options):
    return ask("forum.thread.lock", {"thread_id": str(forum.thread.pk)}, **options)


def unlock(forum, **options):
    return ask("forum.thread.unlock", {"thread_id": str(forum.thread.pk)}, **options)


def test_the_default_key_names_the_directive_the_tenant_the_subject_and_its_revision(forum):
    assert lock(forum).directive.idempotency_key == f"forum.thread.lock:alpha:{forum.thread.pk}:1"


def test_a_double_click_is_one_directive(forum):
    first, second = lock(forum), lock(forum, reason="again")
    assert (first.created, second.created) == (True, False)
    assert first.directive == second.directive
    assert signal_names(first.directive) == ["directive.requested", "directive.requested_again"]
    assert messages() == 1


def test_lock_unlock_lock_are_three_directives_when_each_is_run_before_the_next(forum):
    asked = []
    for step in (lock, unlock, lock):
        asked.append(step(forum))
        assert run(asked[-1].directive).kind == "succeeded"
    assert [one.created for one in asked] == [True, True, True]
    forum.thread.refresh_from_db()
    assert (forum.thread.status, forum.thread.revision) == ("locked", 4)


def test_lock_unlock_lock_are_three_directives_when_none_has_run(forum):
    asked = [lock(forum), unlock(forum), lock(forum)]
    assert [one.created for one in asked] == [True, True, True]
    assert not lock(forum).created, "the last of them still waits"
    assert [outcome.kind for outcome in runner.run_due()] == ["succeeded"] * 3
    forum.thread.refresh_from_db()
    assert (forum.thread.status, forum.thread.revision) == ("locked", 4)


def test_lock_unlock_lock_in_one_batch_are_three_directives(forum):
    payload = {"thread_id": str(forum.thread.pk)}
    names = ["lock", "unlock", "lock", "lock"]
    asked = request_many([(f"forum.thread.{name}", payload) for name in names], actor=TESTER)
    assert [one.created for one in asked] == [True, True, True, False]
    assert asked[2].directive == asked[3].directive


def test_a_double_click_around_the_execution_changes_nothing_twice(forum):
    first = lock(forum).directive
    run(first)
    second = lock(forum).directive
    run(second)
    assert second.result["changed"] is False
    assert Thread.objects.get().revision == 2


def test_a_post_is_created_under_its_clients_own_id(forum):
    payload = {
        "thread_id": str(forum.thread.pk),
        "content": "hi",
        "author_id": "bot",
        "client_request_id": "r-1",
    }
    first, second = ask("forum.post.create", payload), ask("forum.post.create", payload)
    assert first.directive.idempotency_key == f"forum.post.create:alpha:{forum.thread.pk}:r-1"
    assert (first.directive, second.created) == (second.directive, False)
    assert ask("forum.post.create", {**payload, "client_request_id": "r-2"}).created


def test_the_callers_own_key_is_honoured_as_given(forum):
    key = f"forum.thread.lock:alpha:{forum.thread.pk}"
    first = lock(forum, idempotency_key=key).directive
    assert first.idempotency_key == key
    for step in (first, unlock(forum).directive):
        run(step)
    again = lock(forum, idempotency_key=key)
    assert (again.directive, again.created) == (first, False), (
        "pinned by the caller, whatever happened since"
    )


def test_one_key_with_the_same_payload_gives_the_directive_back_whatever_its_form_or_reason(forum):
    post = str(forum.posts[0].pk)
    first = ask("forum.post.hide", {"post_id": post, "reason": "spam"}, idempotency_key="k")
    for payload in ({"post_id": post.upper()}, {"post_id": post.replace("-", ""), "reason": "rude"}):
        again = ask("forum.post.hide", payload, idempotency_key="k")
        assert (again.directive, again.created) == (first.directive, False)


def test_one_key_with_another_payload_is_refused_and_names_the_directive(forum):
    first = ask("forum.post.hide", {"post_id": str(forum.posts[0].pk)}, idempotency_key="k").directive
    with pytest.raises(KeyConflict, match=f"{first.id} .*another payload"):
        ask("forum.post.hide", {"post_id": str(forum.posts[1].pk)}, idempotency_key="k")
    assert Directive.objects.get() == first
    assert messages() == 1


def test_one_key_with_another_name_is_refused_and_names_the_directive(forum):
    payload = {"post_id": str(forum.posts[0].pk)}
    first = ask("forum.post.hide", payload, idempotency_key="k").directive
    with pytest.raises(KeyConflict, match=f"{first.id} .*another name"):
        ask("forum.post.delete", payload, idempotency_key="k")
    assert Directive.objects.get() == first


@pytest.mark.parametrize("own_key", [True, False])
def test_requests_that_race_with_one_key_store_one_directive(forum, own_key):
    options = {"idempotency_key": "race"} if own_key else {}
    for post in forum.posts:
        payload = {"post_id": str(post.pk)}
        options = {"idempotency_key": f"race {post.pk}"} if own_key else {}
        answers = in_threads(*[lambda p=payload, o=options: ask("forum.post.hide", p, **o)] * 6)
        assert sum(answer.created for answer in answers) == 1
        assert len({answer.directive.pk for answer in answers}) == 1
        assert signal_names(answers[0].directive) == ["directive.requested"]
    assert messages() == len(forum.posts)


def test_requests_that_race_with_one_key_and_two_payloads_are_one_directive_and_a_conflict(forum):
    payloads = [{"post_id": str(post.pk)} for post in forum.posts[:2]]
    first, second = in_threads(
        *[lambda p=p: ask("forum.post.hide", p, idempotency_key="race") for p in payloads]
    )
    assert {type(first), type(second)} >= {KeyConflict}
    assert Directive.objects.count() == 1


KEYS = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=512)


@given(key=KEYS.filter(str.strip))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_can_be_a_key_and_means_itself(alpha, key):
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM directives_directive")
    payload = {"animal": "cat"}
    first = ask("zoo.animal.work", payload, idempotency_key=key)
    assert first.directive.idempotency_key == key
    assert not ask("zoo.animal.work", payload, idempotency_key=key).created
    assert ask("zoo.animal.work", payload, idempotency_key=uuid4().hex).created


def test_a_double_click_is_one_directive_beside_another_that_is_for_later(forum):
    tomorrow = timezone.now() + timedelta(days=1)
    unlock(forum, scheduled_at=tomorrow)
    first, second = lock(forum), lock(forum)
    assert (first.directive, second.created) == (second.directive, False)
    assert first.directive.idempotency_key.endswith(":1"), "what is for later is not counted"
    third, fourth = (lock(forum, scheduled_at=tomorrow + timedelta(days=1)) for _ in range(2))
    assert (third.created, fourth.created) == (True, False)


def test_a_request_is_new_after_an_opposite_one_even_at_the_same_revision(forum):
    canceled = lock(forum).directive
    unlock(forum)
    operations.cancel(canceled.id, actor=TESTER, reason="no")
    runner.run_due()
    assert lock(forum).created, "the revision is the same, but the lock under that key is long decided"
    runner.run_due()
    assert Thread.objects.get().status == "locked"


def test_a_request_is_new_after_one_with_another_payload(alpha):
    there, elsewhere = ({"animal": "cat", "note": note} for note in ("there", "elsewhere"))
    asked = [ask("zoo.animal.work", payload) for payload in (there, elsewhere, there, there)]
    assert [one.created for one in asked] == [True, True, True, False]
    assert asked[3].directive == asked[2].directive


def test_a_canceled_directive_can_be_requested_again(forum):
    canceled = lock(forum).directive
    operations.cancel(canceled.id, actor=TESTER, reason="no")
    again, double = lock(forum), lock(forum)
    assert (again.created, double.created) == (True, False)
    assert again.directive == double.directive != canceled


def test_a_directive_that_failed_at_a_stale_revision_can_be_requested_at_the_right_one(forum):
    post = forum.posts[0]
    stale = ask("forum.post.hide", {"post_id": str(post.pk), "expected_revision": 7}).directive
    assert run(stale).kind == "failed"
    asked = ask("forum.post.hide", {"post_id": str(post.pk), "expected_revision": 1})
    assert asked.created
    assert run(asked.directive).kind == "succeeded"


def test_a_subject_named_again_is_the_same_request(forum):
    post = str(forum.posts[0].pk)
    first = ask("forum.post.hide", {"post_id": post})
    again = ask("forum.post.hide", {"post_id": post, "subject": {"type": "forum.post", "id": post}})
    assert (again.directive, again.created) == (first.directive, False)


@pytest.mark.parametrize("put_off", ["planned", "snoozed"])
def test_a_postponed_directive_does_not_absorb_a_request_for_now(forum, put_off):
    later = timezone.now() + timedelta(days=7)
    planned = lock(forum, scheduled_at=later if put_off == "planned" else None).directive
    if put_off == "snoozed":
        operations.snooze(planned.id, later, actor=TESTER, reason="not yet")
    urgent, double = lock(forum), lock(forum)
    assert (urgent.created, double.created) == (True, False)
    runner.run_due()
    assert Thread.objects.get().status == "locked"
    planned.refresh_from_db()
    assert planned.status == "requested", "and the plan stands"


def test_an_urgent_request_is_not_taken_for_a_scheduled_one(forum):
    now = timezone.now()
    for days, step in enumerate((lock, unlock, lock, unlock)):
        step(forum, scheduled_at=now + timedelta(days=days) if days else None)
    assert unlock(forum).created
    runner.run_due()
    assert Thread.objects.get().status == "open"


def test_overlapping_batches_in_opposite_order_do_not_lock_each_other_out(forum):
    items = [("forum.post.hide", {"post_id": str(uuid4())}) for _ in range(300)]
    answers = in_threads(
        lambda: request_many(items, actor=TESTER), lambda: request_many(items[::-1], actor=TESTER)
    )
    assert sum(requested.created for answer in answers for requested in answer) == 300


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["lock", "unlock"]),
        st.booleans(),
        st.sampled_from(["nothing", "run", "cancel the first", "pin"]),
    ),
    max_size=10,
)


@given(steps=STEPS)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_last_request_decides_the_threads_status_whatever_happened_to_the_others(forum, steps):
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM directives_directive")
    Thread.objects.update(status="open", revision=1)
    expected = {"lock": "locked", "unlock": "open"}
    payload = {"thread_id": str(forum.thread.pk)}
    for name, doubled, then in steps:
        options = {"idempotency_key": uuid4().hex} if then == "pin" else {}
        asked = ask(f"forum.thread.{name}", payload, **options)
        if doubled:
            again = ask(f"forum.thread.{name}", payload, **options)
            assert (again.directive, again.created) == (asked.directive, False) or then == "pin"
        waiting = Directive.objects.filter(status="requested").order_by("queued_at", "id")
        if then == "cancel the first" and waiting and waiting[0] != asked.directive:
            operations.cancel(waiting[0].id, actor=TESTER, reason="at will")
        if then == "run":
            runner.run_due()
            assert Thread.objects.get().status == expected[name]
    runner.run_due()
    assert Thread.objects.get().status == (expected[steps[-1][0]] if steps else "open")
