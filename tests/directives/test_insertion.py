"""Insertion of requests: one statement, equal rows for one and for many, one timestamp, unique keys."""

from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta, timezone
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import now
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from directives.lifecycle import transitions
from directives.models import Directive
from directives.requesting import insertion
from directives.requests import DirectiveRequest, request, request_many
from fleetprompt.tenants.context import in_tenant
from signals import bus
from signals.models import Signal
from signals.types import disclose, salted
from tests.support import TESTER, ask, meanwhile, owner_cursor, somebody_waits, wait_until

ID = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=50)
LATER = datetime(2040, 1, 1, 12, tzinfo=UTC)
TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=60)
TIMES = st.none() | st.builds(
    lambda ahead, hours: (LATER + ahead).astimezone(timezone(timedelta(hours=hours))),
    st.timedeltas(timedelta(), timedelta(days=9)) | st.integers(0, 9).map(lambda n: timedelta(seconds=n)),
    st.integers(-12, 12),
)
ITEMS = st.lists(
    st.builds(
        lambda name, animal, note, reason, at: DirectiveRequest(
            f"zoo.animal.{name}", {"animal": animal or "cat", "note": note}, reason, None, at
        ),
        st.sampled_from(["work", "roam"]),
        ID.filter(str.strip),
        TEXT,
        TEXT,
        TIMES,
    ),
    min_size=1,
    max_size=6,
)


def values(record, *aside):
    names = [field.attname for field in record._meta.concrete_fields if field.attname not in aside]
    return {name: getattr(record, name) for name in names}


@given(items=ITEMS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_one_by_one_or_together_the_same_rows_are_stored(alpha, items):
    own = [uuid4().hex for _ in items]
    given_keys = [
        [item._replace(idempotency_key=f"{how} {key}") for item, key in zip(items, own, strict=True)]
        for how in ("one by one", "together")
    ]
    options = {"actor": TESTER, "correlation_id": own[0], "causation_id": "x", "metadata": {"a": "☃"}}
    singles = [request(**item._asdict() | options) for item in given_keys[0]]
    together = request_many(given_keys[1], **options)
    for item, *both in zip(items, singles, together, strict=True):
        stored = [Directive.objects.get(pk=answer.directive.pk) for answer in both]
        for answer, directive in zip(both, stored, strict=True):
            assert answer.created
            assert values(answer.directive) == values(directive)
            wanted = item.scheduled_at or directive.created_at
            assert directive.scheduled_at == directive.queued_at == wanted
            says_so(directive)
        aside = ("id", "idempotency_key", "created_at", "requested_at", "personal")
        moments = () if item.scheduled_at else ("scheduled_at", "queued_at")
        assert values(stored[0], *aside, *moments) == values(stored[1], *aside, *moments)
        assert stored[0].reason == stored[1].reason == item.reason


def says_so(directive):
    signal = Signal.objects.get(causation_id=str(directive.pk))
    expected = transitions.lifecycle_signal(
        directive,
        "directive.requested",
        {
            "reason": salted(directive.personal, "reason"),
            "idempotency_key": directive.idempotency_key,
            "scheduled_at": directive.scheduled_at.astimezone(UTC).isoformat(),
        },
        tenant="alpha",
    )
    expected.payload = disclose(expected.payload, expected.personal)
    aside = ("id", "occurred_at", "recorded_at")
    assert values(signal, *aside) == values(expected, *aside)
    assert signal.occurred_at == signal.recorded_at >= directive.created_at


def animals(*notes, **fields):
    return [
        {"name": "zoo.animal.work", "payload": {"animal": "cat", "note": note}, **fields} for note in notes
    ]


def test_one_timestamp_and_the_given_order_for_any_number_of_statements(alpha, monkeypatch):
    monkeypatch.setattr(insertion, "MAX_ROWS", 2)
    notes = [str(n) for n in range(7)]
    before = clock()
    # The keys are in another order than the items.
    items = [item | {"idempotency_key": f"{9 - n}"} for n, item in enumerate(animals(*notes))]
    answers = request_many(items, actor=TESTER)
    stored = list(Directive.objects.order_by("queued_at", "id"))
    assert [directive.payload["note"] for directive in stored] == notes
    moments = {(d.created_at, d.queued_at, d.scheduled_at) for d in stored}
    assert moments == {(answers[0].directive.created_at,) * 3}
    assert before < answers[0].directive.created_at < clock()
    assert {signal.recorded_at > before for signal in Signal.objects.all()} == {True}


def test_a_timestamp_is_given_although_the_first_statement_stores_nothing(alpha, monkeypatch):
    monkeypatch.setattr(insertion, "MAX_ROWS", 2)
    keyed = [item | {"idempotency_key": f"{n}"} for n, item in enumerate(animals(*"abcd"))]
    request_many(keyed[:2], actor=TESTER)
    answers = request_many(keyed, actor=TESTER)
    assert [answer.created for answer in answers] == [False, False, True, True]
    assert (
        answers[2].directive.created_at == answers[3].directive.created_at > answers[0].directive.created_at
    )


def test_of_the_same_item_twice_the_first_is_stored(alpha):
    items = [
        item | {"idempotency_key": "same", "reason": str(n)} for n, item in enumerate(animals(*["a"] * 9))
    ]
    answers = request_many([*animals("b"), *items], actor=TESTER)
    assert [answer.created for answer in answers] == [True, True] + [False] * 8
    assert {answer.directive.reason for answer in answers[1:]} == {"0"}
    names = Counter(Signal.objects.values_list("name", flat=True))
    assert names == {"directive.requested": 2, "directive.requested_again": 8}


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("commits", [True, False])
def test_a_key_that_another_transaction_holds_is_waited_for(alpha, number, commits):
    items = [item | {"idempotency_key": f"{n}"} for n, item in enumerate(animals(*"abc"))][:number]
    with ExitStack() as stack, transaction.atomic():
        first = request_many(items[-1:], actor=TESTER)[0].directive
        waiting = stack.enter_context(meanwhile(lambda: request_many(items, actor=TESTER)))
        wait_until(somebody_waits, "the second request waits for the key")
        transaction.set_rollback(not commits)
    [answers] = waiting
    assert [answer.created for answer in answers] == [True] * (number - 1) + [not commits]
    assert (answers[-1].directive.pk == first.pk) == commits
    assert Directive.objects.count() == Signal.objects.count() == number


def test_what_was_prepared_for_one_tenant_stores_in_the_active_one(database):
    for _ in range(8):
        for slug in ("alpha", "beta"):
            with in_tenant(slug):
                assert ask("zoo.animal.work", {"animal": "cat"}, idempotency_key=uuid4().hex).created
                request_many(animals(uuid4().hex, uuid4().hex), actor=TESTER)
    for slug in ("alpha", "beta"):
        with in_tenant(slug):
            assert Directive.objects.count() == Signal.objects.count() == 24
            assert set(Signal.objects.values_list("dedupe_key", flat=True)) == {
                f"directive.requested:{slug}:{pk}:0"
                for pk in Directive.objects.values_list("pk", flat=True)
            }


def test_what_was_prepared_outlives_rollbacks_and_changes_of_the_table(alpha):
    def ask_anew():
        return ask("zoo.animal.work", {"animal": "cat"}, idempotency_key=uuid4().hex)

    ask_anew()
    with transaction.atomic():
        ask_anew()
        transaction.set_rollback(True)
    ask_anew()
    with owner_cursor() as cursor:
        cursor.execute("ALTER TABLE directives_directive ADD COLUMN extra text NOT NULL DEFAULT ''")
        try:
            ask_anew()
        finally:
            cursor.execute("ALTER TABLE directives_directive DROP COLUMN extra")
    ask_anew()
    assert Directive.objects.count() == Signal.objects.count() == 4


def test_a_single_request_looks_at_its_subject_and_stores(forum):
    with CaptureQueriesContext(connection) as captured:
        ask("forum.post.hide", {"post_id": str(forum.posts[0].pk)})
    said = [query["sql"].split(maxsplit=1)[0] for query in captured]
    assert [word for word in said if word != "SET"] == ["SELECT", "WITH"], "a transaction of its own"


def test_a_signals_columns_are_all_given(alpha):
    with pytest.raises(ValueError, match="every column"):
        bus.insertion("made", {"id": "made.id"})


def clock():
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        return cursor.fetchone()[0]


def test_what_is_for_the_past_is_for_now(alpha):
    [answer] = request_many(animals("late", scheduled_at=now() - timedelta(days=1)), actor=TESTER)
    assert answer.directive.scheduled_at == answer.directive.created_at
