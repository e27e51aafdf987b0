"""Default keys without a revision: no subject, no order, or no count of changes."""

import threading
import time

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_bakery import baker

from directives import operations, runner
from directives.models import Directive
from directives.requests import request_many
from tests.library.models import Book, Shelf
from tests.support import TESTER, ask, ask_animal, in_threads, run

COUNT = ("library.count", {"what": "books"})


@pytest.fixture
def book(alpha):
    return baker.make(Book)


@pytest.fixture
def item(alpha, request):
    """A request of one kind: without a subject, without an order (and a revision or none), or neither."""
    baker.make(Shelf, name="fiction")
    return {
        "no subject": COUNT,
        "no order": ("zoo.animal.roam", {"animal": "cat"}),
        "no order, a revision": ("library.shelf.dust", {"shelf": "fiction"}),
        "no revision": ("zoo.animal.work", {"animal": "cat"}),
    }[request.param]


EVERY_KIND = pytest.mark.parametrize(
    "item", ["no subject", "no order", "no order, a revision", "no revision"], indirect=True
)


def cancel(directive):
    operations.cancel(directive.id, actor=TESTER, reason="no")


@EVERY_KIND
def test_a_double_click_is_one_directive(item):
    first, second, third = ask(*item), ask(*item), ask(*item, reason="again")
    assert [one.created for one in (first, second, third)] == [True, False, False]
    assert first.directive == second.directive == third.directive


@EVERY_KIND
def test_what_was_canceled_can_be_asked_again(item):
    for _ in range(3):
        asked, double = ask(*item), ask(*item)
        assert (asked.created, double.created) == (True, False)
        cancel(asked.directive)
    assert ask(*item).created
    assert Directive.objects.count() == 4


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        ("library.count", {"what": "books", "mood": "bad"}),
        ("library.shelf.dust", {"shelf": "fiction", "mood": "bad"}),
        ("library.shelf.dust", {"shelf": "of nobody"}),
        ("zoo.animal.refuse", {"animal": "cat"}),
    ],
)
def test_what_failed_can_be_asked_again(alpha, name, payload):
    baker.make(Shelf, name="fiction")
    for _ in range(3):
        asked, double = ask(name, payload), ask(name, payload)
        assert (asked.created, double.created) == (True, False)
        assert run(asked.directive).kind == "failed"


def test_another_payload_is_another_request_and_no_conflict(alpha):
    payloads = [{"animal": "cat", "note": note} for note in ("a", "b", "a", "b", "c")]
    asked = [ask("zoo.animal.roam", payload) for payload in payloads]
    assert [one.created for one in asked] == [True, True, False, False, True]
    assert [one.directive.payload["note"] for one in asked] == list("ababc")
    many = request_many([("zoo.animal.roam", {**one, "animal": "dog"}) for one in payloads], actor=TESTER)
    assert [one.created for one in many] == [True, True, False, False, True]


def test_what_has_been_done_can_be_asked_again_where_nothing_says_that_it_still_holds(book):
    payload = {"book_id": book.pk}
    for _ in range(3):
        asked = ask("library.book.withdraw", payload)
        assert asked.created
        assert run(asked.directive).kind == "succeeded"
        book.refresh_from_db()
        assert book.status == "withdrawn"
        # Somebody puts it back without a directive.
        Book.objects.update(status="open")


def test_withdraw_restore_withdraw_are_three_directives_when_none_has_run(book):
    names = [f"library.book.{name}" for name in ("withdraw", "restore", "withdraw", "withdraw")]
    asked = [ask(name, {"book_id": book.pk}) for name in names]
    assert [one.created for one in asked] == [True, True, True, False]
    runner.run_due()
    book.refresh_from_db()
    assert book.status == "withdrawn"


def test_a_running_directive_is_still_the_same_request(alpha):
    directive = ask("zoo.animal.work", {"animal": "cat"}).directive
    Directive.objects.filter(pk=directive.pk).update(
        status="running", attempt=1, lease_expires_at="2999-01-01T00:00Z"
    )
    assert ask("zoo.animal.work", {"animal": "cat"}).directive == directive


def test_a_revision_tells_that_what_was_done_still_holds_without_an_order_too(alpha):
    shelf = baker.make(Shelf, name="fiction")
    payload = {"shelf": "fiction"}
    done = ask("library.shelf.dust", payload).directive
    run(done)
    assert ask("library.shelf.dust", payload).directive == done
    shelf.revision += 1
    shelf.save()
    assert ask("library.shelf.dust", payload).created


def test_the_reason_is_not_part_of_the_key_of_a_request_without_a_subject(alpha):
    first = ask("library.count", {"what": "books", "reason": "why not"})
    again = ask("library.count", {"what": "books", "reason": "curious"})
    assert (again.directive, again.created) == (first.directive, False)


def test_a_clients_own_key_stays_its_own_whatever_became_of_it(forum):
    payload = {
        "thread_id": str(forum.thread.pk),
        "content": "hi",
        "author_id": "bot",
        "client_request_id": "r-1",
    }
    first = ask("forum.post.create", payload).directive
    cancel(first)
    again = ask("forum.post.create", payload)
    assert (again.directive, again.created) == (first, False)


def test_a_long_series_is_found_in_a_handful_of_statements(alpha, django_assert_max_num_queries):
    for _ in range(40):
        run(ask(*COUNT).directive)
    with django_assert_max_num_queries(30):
        assert ask(*COUNT).created
    assert Directive.objects.count() == 41


@EVERY_KIND
def test_a_double_click_is_one_directive_also_when_the_clicks_race(item):
    for _ in range(4):
        answers = in_threads(*[lambda: ask(*item)] * 5)
        assert sum(answer.created for answer in answers) == 1, answers
        assert len({answer.directive.pk for answer in answers}) == 1
        cancel(answers[0].directive)


@EVERY_KIND
def test_a_click_that_came_while_the_history_was_about_to_be_read_is_the_same(item):
    """The time of a statement is before its snapshot: what it sees may seem to be for later."""
    cancel(ask(*item).directive)
    is_reading = threading.Event()

    def late(execute, sql, params, many, context):
        if '"later"' not in sql:
            return execute(sql, params, many, context)
        is_reading.set()
        result = execute(f"SELECT pg_sleep(1); {sql}", params, many, context)
        context["cursor"].nextset()
        return result

    def ask_late():
        with connection.execute_wrapper(late):
            return ask(*item)

    def ask_meanwhile():
        assert is_reading.wait(10)
        time.sleep(0.2)
        return ask(*item)

    answers = in_threads(ask_late, ask_meanwhile)
    assert sum(answer.created for answer in answers) == 1, answers
    assert answers[0].directive == answers[1].directive


MOODS = st.sampled_from(["", "other"])
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["library.count", "library.shelf.dust"]),
        MOODS,
        st.sampled_from(["nothing", "run", "cancel", "touch"]),
    ),
    max_size=12,
)


@given(steps=STEPS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_request_is_known_exactly_while_it_waits_or_its_revision_is_current(alpha, steps):
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM directives_directive; DELETE FROM library_shelf")
    baker.make(Shelf, name="fiction")
    known: dict = {}
    for name, mood, then in steps:
        payload = {"what": "books"} if name == "library.count" else {"shelf": "fiction"}
        asked = ask(name, {**payload, "mood": mood})
        assert asked.created == ((name, mood) not in known), (name, mood, known)
        assert asked.directive == known.setdefault((name, mood), asked.directive)
        if then == "run":
            runner.run_due()
            # What is done holds as long as a revision says so.
            known = {item: one for item, one in known.items() if item[0] == "library.shelf.dust"}
        if then == "cancel" and run_state(asked.directive) == "requested":
            cancel(asked.directive)
            del known[name, mood]
        if then == "touch":
            Shelf.objects.update(revision=Shelf.objects.get().revision + 10)
            # At another revision, even what waits is asked for under another key.
            known = {item: one for item, one in known.items() if item[0] == "library.count"}


def run_state(directive):
    return Directive.objects.values_list("status", flat=True).get(pk=directive.pk)


def test_animals_without_a_record_have_no_revision(alpha):
    key = ask("zoo.animal.work", {"animal": "cat"}).directive.idempotency_key
    assert key == "zoo.animal.work:alpha:cat:0"
    assert ask_animal("work", "cat").idempotency_key != key
