"""Requesting many directives at once: all or none, one correlation, few statements."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from directives.errors import InvalidPayload, KeyConflict, Refused, UnknownDirective
from directives.models import Directive
from directives.requests import DirectiveRequest, request_each, request_many
from forums.models import Post
from signals.models import Signal
from tests.recipes import forums
from tests.support import TESTER, ask, messages


def work(number, **fields):
    return {"name": "zoo.animal.work", "payload": {"animal": f"cat {number}"}, **fields}


def test_items_may_be_requests_mappings_or_sequences(alpha):
    payload = {"animal": "cat"}
    items = [
        DirectiveRequest("zoo.animal.work", payload, idempotency_key="1"),
        {"name": "zoo.animal.work", "payload": payload, "idempotency_key": "2", "reason": "because"},
        ("zoo.animal.work", payload, "", "3"),
    ]
    answers = request_many(items, actor=TESTER, reason="for all", metadata={"page": 1})
    assert [answer.directive.idempotency_key for answer in answers] == ["1", "2", "3"]
    assert [answer.directive.reason for answer in answers] == ["for all", "because", "for all"]
    assert {str(answer.directive.metadata) for answer in answers} == {"{'page': 1}"}


def test_all_share_one_correlation_and_keep_their_order(alpha):
    answers = request_many([work(number) for number in range(50)], actor=TESTER)
    assert len({answer.directive.correlation_id for answer in answers}) == 1
    assert answers[0].directive.correlation_id
    stored = Directive.objects.order_by("queued_at", "id")
    assert [answer.directive for answer in answers] == list(stored)
    [second, *_] = request_many([work(99)], actor=TESTER)
    assert second.directive.correlation_id != answers[0].directive.correlation_id


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (("zoo.animal.wrk", {}), UnknownDirective),
        (("zoo.animal.work", {"animal": 5}), InvalidPayload),
        (("zoo.animal.work", {"animal": "other"}, "", "taken"), KeyConflict),
    ],
)
def test_one_bad_item_stores_none(alpha, bad, error):
    ask("zoo.animal.work", {"animal": "cat"}, idempotency_key="taken")
    with pytest.raises(error):
        request_many([work(1), work(2), bad, work(3)], actor=TESTER)
    assert Directive.objects.count() == Signal.objects.count() == messages() == 1


def test_request_each_stores_the_good_ones_and_says_what_is_wrong_with_the_others(alpha):
    answers = request_each([work(1), ("zoo.animal.wrk", {}), work(2), work(1, colour="red")], actor=TESTER)
    assert [isinstance(answer, Refused) for answer in answers] == [False, True, False, True]
    assert Directive.objects.count() == 2


def test_nothing_at_all_is_fine(alpha):
    assert request_many([], actor=TESTER) == []
    assert messages() == 0


def test_the_same_item_twice_in_a_batch_is_one_directive(alpha):
    first, second = request_many([work(1), work(1)], actor=TESTER)
    assert (first.created, second.created) == (True, False)
    assert first.directive == second.directive
    assert Signal.objects.count() == 1


def test_a_batch_wakes_one_worker_for_each_time_it_is_due(alpha):
    at = timezone.now() + timedelta(hours=1)
    request_many([work(1), work(2), work(3, scheduled_at=at), work(4, scheduled_at=at)], actor=TESTER)
    assert messages() == 2


def statements(items):
    with CaptureQueriesContext(connection) as captured:
        request_many(items, actor=TESTER)
    # django-tenants sets the search path before each statement.
    return sum(not query["sql"].startswith("SET search_path") for query in captured)


def test_the_number_of_statements_does_not_grow_with_the_number_of_directives(forum):
    forums.post.make(3000, thread=forum.thread, _bulk_create=True)
    posts = [str(pk) for pk in Post.objects.values_list("pk", flat=True)]

    def hide(some):
        return [("forum.post.hide", {"post_id": post}) for post in some]

    few = statements(hide(posts[:10]))
    assert statements(hide(posts[10:1000])) == few
    # Two chunks more for directives and for signals each.
    assert statements(hide(posts[1000:3000])) <= few + 2
    assert Directive.objects.count() == Signal.objects.filter(name="directive.requested").count() == 3000


def test_the_number_of_statements_does_not_grow_with_the_number_of_times(alpha):
    soon = timezone.now() + timedelta(hours=1)

    def spread(some):
        return [work(n, scheduled_at=soon + timedelta(seconds=n)) for n in some]

    few = statements(spread(range(10)))
    assert statements(spread(range(10, 500))) <= few + 2
