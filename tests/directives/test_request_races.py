"""Concurrent requests: they never deadlock, and none without a key conflicts."""

import pytest
from django.db import OperationalError, transaction

from directives.models import Directive
from directives.requesting import insertion
from directives.requests import Requested, request_each, request_many
from signals.models import Signal
from tests.support import TESTER, ask, in_threads, messages, somebody_waits, thinned, wait_until


def variants(post):
    """Return four requests to hide a post; the first and the last are the same."""
    pk = str(post.pk)
    return [
        {"post_id": pk},
        {"post_id": pk, "expected_revision": 1},
        {"post_id": pk, "expected_revision": 2},
        {"post_id": pk, "reason": "spam"},
    ]


def test_requests_with_and_without_an_expected_revision_never_conflict(forum):
    for post in forum.posts:
        for _ in range(3):
            answers = in_threads(
                *[lambda p=payload: ask("forum.post.hide", p) for payload in variants(post)] * 2
            )
            assert all(isinstance(answer, Requested) for answer in answers), answers
        mine = Directive.objects.filter(subject_id=str(post.pk))
        assert mine.count() == 3, "one for each payload, however often it was asked"


@pytest.mark.parametrize("request_some", [request_many, request_each])
def test_nor_do_whole_batches(forum, request_some):
    def batch(number):
        items = [("forum.post.hide", variants(post)[number]) for post in forum.posts]
        return request_some(items[:: -1 if number % 2 else 1], actor=TESTER)

    for _ in range(3):
        answers = in_threads(*[lambda n=number: batch(n) for number in range(4)] * 2)
        assert all(isinstance(one, Requested) for answer in answers for one in answer), answers
    assert Directive.objects.count() == 3 * len(forum.posts)
    assert Signal.objects.filter(name="directive.requested").count() == 3 * len(forum.posts)


def test_nor_do_requests_that_nothing_orders(alpha):
    items = [("zoo.animal.roam", {"animal": "cat", "note": note}) for note in "abcd"]
    for _ in range(3):
        answers = in_threads(*[lambda w=item: ask(*w) for item in items] * 2)
        assert all(isinstance(answer, Requested) for answer in answers), answers
        assert [answer.directive.payload["note"] for answer in answers] == list("abcd" * 2)
    assert Directive.objects.count() == 4


def test_all_variants_in_one_batch_are_a_directive_each(forum):
    items = [("forum.post.hide", payload) for payload in variants(forum.posts[0])]
    assert [one.created for one in request_many(items, actor=TESTER)] == [True, True, True, False]


def test_a_race_that_is_lost_at_the_insert_moves_on_and_keeps_nothing_locked(forum):
    first, second = forum.posts[:2]
    go = []

    def holder():
        with transaction.atomic():
            ask("forum.post.hide", {"post_id": str(first.pk)})
            go.append(first)
            # Long enough for the batch to wait for this one's key.
            wait_until(somebody_waits, "the batch waits")

    def batch():
        wait_until(lambda: go, "the key is taken and not committed")
        items = [{"post_id": str(post.pk), "expected_revision": 1} for post in (first, second)]
        return request_many([("forum.post.hide", item) for item in items], actor=TESTER)

    held, asked = in_threads(holder, batch)
    assert held is None, held
    assert [one.created for one in asked] == [True, True]
    assert asked[0].directive.idempotency_key.endswith(":2")
    assert messages() == 2


@pytest.mark.parametrize("attempt", thinned(range(3), every=3))
def test_batches_above_one_statement_in_opposite_order_do_not_lock_each_other_out(alpha, attempt):
    items = [
        ("zoo.animal.work", {"animal": str(number)}, "", f"{attempt} {number:05}")
        for number in range(int(insertion.MAX_ROWS * 1.8))
    ]
    forth, back = in_threads(
        lambda: request_many(items, actor=TESTER), lambda: request_many(items[::-1], actor=TESTER)
    )
    for answer in (forth, back):
        assert isinstance(answer, list), answer
    assert [one.directive.idempotency_key for one in forth] == [key for *_, key in items]
    assert [one.directive.idempotency_key for one in back] == [key for *_, key in items[::-1]]
    assert sum(one.created for answer in (forth, back) for one in answer) == len(items)


def test_a_deadlock_with_somebody_elses_transaction_is_tried_once_more(alpha):
    items = [("zoo.animal.work", {"animal": key}, "", key) for key in "ab"]
    got = []

    def other():
        # Takes the keys in the order in which no batch does.
        with transaction.atomic():
            ask("zoo.animal.work", {"animal": "b"}, idempotency_key="b")
            got.append("b")
            wait_until(somebody_waits, "the batch has a and waits for b")
            # The batch has waited longer, so it is the first to look for deadlocks and is canceled.
            ask("zoo.animal.work", {"animal": "a"}, idempotency_key="a")

    def batch():
        wait_until(lambda: got, "b is taken")
        return request_many(items, actor=TESTER)

    failed, asked = in_threads(other, batch)
    assert failed is None, failed
    assert [one.created for one in asked] == [False, False]


def test_a_deadlock_in_the_callers_transaction_is_the_callers(alpha):
    items = [("zoo.animal.work", {"animal": key}, "", key) for key in "ab"]
    got = []

    def other():
        with transaction.atomic():
            ask("zoo.animal.work", {"animal": "b"}, idempotency_key="b")
            got.append("b")
            wait_until(somebody_waits, "the batch has a and waits for b")
            ask("zoo.animal.work", {"animal": "a"}, idempotency_key="a")

    def batch():
        wait_until(lambda: got, "b is taken")
        with transaction.atomic():
            return request_many(items, actor=TESTER)

    failed, asked = in_threads(other, batch)
    assert failed is None, failed
    assert isinstance(asked, OperationalError)
