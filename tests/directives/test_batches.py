"""Batches: many directives under one correlation id, requested once however often the form is submitted."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from directives import operations, requests, runner
from directives.errors import PermissionRefused, Refused, SecretRefused
from directives.models import Directive
from directives.requesting import batches
from directives.requesting.batches import progress
from directives.requests import request_batch
from forums.models import Post
from signals.models import Signal
from signals.types import Actor
from tests.recipes import accounts
from tests.support import TESTER, ask, in_threads, make_forum


def ask_batch(posts, batch_id=None, **options):
    """Ask for hiding the posts as one batch; return its id and what was answered."""
    batch_id = batch_id or str(uuid4())
    payloads = [{"post_id": str(post.pk)} for post in posts]
    answer = request_batch(
        batch_id, "forum.post.hide", payloads, **{"actor": TESTER, "reason": "spam", **options}
    )
    return batch_id, answer


def announced(batch_id):
    return requests.find_batch(batch_id).payload


def test_a_batch_is_one_correlation_id_and_one_signal(forum):
    batch_id, refused = ask_batch(forum.posts)
    assert refused == []
    assert {d.correlation_id for d in Directive.objects.all()} == {batch_id}
    assert [str(pk) for pk in batches.directives(batch_id).values_list("subject_id", flat=True)] == [
        str(post.pk) for post in forum.posts
    ]
    facts = announced(batch_id)
    assert facts["name"] == "forum.post.hide"
    assert (facts["asked"], facts["created"], facts["known"], facts["refused"]) == (3, 3, 0, 0)
    assert requests.find_batch(batch_id).actor == TESTER


def test_a_second_submit_is_no_second_batch(forum):
    batch_id, _ = ask_batch(forum.posts)
    assert ask_batch(forum.posts, batch_id) == (batch_id, None)
    assert Directive.objects.count() == 3
    assert Signal.objects.filter(name=requests.BATCH_REQUESTED).count() == 1


@pytest.mark.parametrize(
    "other", [{"reason": "no spam"}, {"scheduled_at": timezone.now()}, {"actor": Actor("agent", "x")}]
)
def test_another_batch_under_a_known_id_is_refused(forum, other):
    batch_id, _ = ask_batch(forum.posts)
    with pytest.raises(Refused, match="other contents"):
        ask_batch(forum.posts, batch_id, **other)
    with pytest.raises(Refused, match="other contents"):
        ask_batch(forum.posts[:1], batch_id)
    assert Directive.objects.count() == 3


def test_submits_at_the_same_moment_are_one_batch(forum):
    batch_id = str(uuid4())
    answers = in_threads(*[lambda: ask_batch(forum.posts, batch_id)] * 4)
    assert sorted(str(refused) for _, refused in answers) == ["None", "None", "None", "[]"]
    assert Directive.objects.count() == 3
    assert Signal.objects.filter(name="directive.requested").count() == 3
    assert Signal.objects.filter(name=requests.BATCH_REQUESTED).count() == 1


def test_what_was_asked_before_is_counted_and_not_asked_again(forum):
    ask("forum.post.hide", {"post_id": str(forum.posts[0].pk)})
    batch_id, _ = ask_batch(forum.posts)
    facts = announced(batch_id)
    assert (facts["asked"], facts["created"], facts["known"]) == (3, 2, 1)
    assert progress(batch_id).total == 2


def test_a_batch_of_only_known_requests_is_on_record(forum):
    ask_batch(forum.posts)
    batch_id, refused = ask_batch(forum.posts)
    assert refused == []
    assert announced(batch_id)["known"] == 3
    assert progress(batch_id).total == 0


def test_a_batch_that_is_refused_as_a_whole_leaves_nothing(forum):
    before = Signal.objects.count()
    with pytest.raises(SecretRefused):
        ask_batch(forum.posts, reason="-----BEGIN RSA PRIVATE KEY-----")
    with pytest.raises(Refused, match="at least one"):
        ask_batch([])
    with pytest.raises(Refused, match="post_id"):
        request_batch(str(uuid4()), "forum.post.hide", [{}, {}], actor=TESTER, reason="x")
    assert (Directive.objects.count(), Signal.objects.count()) == (0, before)


def test_single_refusals_are_told_and_the_others_stand(forum):
    payloads = [{"post_id": str(forum.posts[0].pk)}, {"post_id": "rubbish"}]
    batch_id = str(uuid4())
    [refusal] = request_batch(batch_id, "forum.post.hide", payloads, actor=TESTER, reason="x")
    assert "post_id" in str(refusal)
    facts = announced(batch_id)
    assert (facts["asked"], facts["created"], facts["refused"]) == (2, 1, 1)


def test_a_batch_needs_the_permission_and_leaves_nothing_without(forum):
    ann = accounts.user.make(username="ann")
    before = Signal.objects.count()
    with pytest.raises(PermissionRefused):
        ask_batch(forum.posts, actor=Actor("user", str(ann.pk), "ann"))
    assert (Directive.objects.count(), Signal.objects.count()) == (0, before)


def test_a_batch_that_is_too_large_is_refused(forum):
    with pytest.raises(Refused, match="at most 10000"):
        request_batch(
            str(uuid4()), "forum.post.hide", [{}] * (requests.MAX_BATCH + 1), actor=TESTER, reason="x"
        )


def test_progress_follows_a_batch_to_its_end(forum):
    batch_id, _ = ask_batch(forum.posts)
    first, second, third = batches.directives(batch_id)
    assert (progress(batch_id).counts, progress(batch_id).is_over) == ({"requested": 3}, False)
    runner.run(first.id)
    operations.cancel(second.id, actor=TESTER, reason="x")
    operations.snooze(third.id, timezone.now() + timedelta(hours=1), actor=TESTER, reason="x")
    found = progress(batch_id)
    assert found.counts == {"succeeded": 1, "canceled": 1, "snoozed": 1}
    assert (found.total, found.ended, found.is_over, found.is_waiting) == (3, 2, False, True)
    operations.cancel(third.id, actor=TESTER, reason="x")
    assert (progress(batch_id).is_over, progress(batch_id).is_waiting) == (True, False)


def test_what_waits_for_its_retry_is_not_over(alpha):
    ask("zoo.animal.stumble", {"animal": "cat", "times": 1}, correlation_id="some")
    runner.run_due()
    assert progress("some").is_waiting
    assert not progress("some").is_over


def test_a_batch_for_later_waits_for_its_time(forum):
    batch_id, _ = ask_batch(forum.posts, scheduled_at=timezone.now() + timedelta(hours=1))
    assert progress(batch_id).counts == {"snoozed": 3}
    assert progress(batch_id).is_waiting


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(picks=st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=6), min_size=1, max_size=5))
def test_asked_is_always_created_and_known_and_refused(alpha, picks):
    posts = make_forum_once()
    for pick in picks:
        batch_id, _ = ask_batch([posts[index] for index in pick])
        facts = announced(batch_id)
        assert facts["asked"] == len(pick) == facts["created"] + facts["known"] + facts["refused"]
        assert progress(batch_id).total == facts["created"]


def make_forum_once():
    return list(Post.objects.all()) or make_forum(5).posts
