"""Inserts of many rows: the same rows as by Django's own insert, without the known ones."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import DatabaseError
from django.db.models import Model
from django.utils import timezone
from uuid_utils.compat import uuid7

from directives.models import Directive
from directives.requests import DirectiveRequest, request_many
from fleetprompt.postgres import rows
from signals import bus
from signals.models import Signal
from signals.types import Subject, disclose, salted
from tests.support import TESTER, ask

TEXTS = ["", " ", 'it\'s \\ "quoted" %s {}', "\t\r\n\x01\x7f", "naïve ☃ 𝄞", "\\u0000", "null", "a" * 500]
JSON = {
    "texts": TEXTS,
    "numbers": [0, -1, 2**63, 10**40, 0.1, 1e-300, 1.7e308, 5.0],
    "others": [True, False, None, [], {}],
    '"; drop': {"deep": [[[{"": 1}]]]},
}


def values(record: Model, **changes: object) -> dict[str, object]:
    names = [field.attname for field in record._meta.concrete_fields]
    return {name: getattr(record, name) for name in names} | changes


def varied() -> list[Directive]:
    at = datetime(2031, 12, 31, 23, 59, 59, 123456, tzinfo=UTC)
    common = {"name": "a.b", "actor_type": "user", "actor_id": "1", "scheduled_at": at, "queued_at": at}
    return [
        Directive(**common, idempotency_key="json", payload=JSON, metadata=JSON),
        Directive(**common, idempotency_key="empty", payload={}, result=None, created_at=at),
        Directive(
            **common, idempotency_key="result", result=JSON, attempt=1, max_attempts=2, last_error_at=at
        ),
        *(
            Directive(**common, idempotency_key=f"text {n}", reason=text, actor_label=text[:255])
            for n, text in enumerate(TEXTS)
        ),
    ]


def test_rows_are_those_that_django_inserts(alpha):
    mine = rows.insert(varied())
    theirs = Directive.objects.bulk_create(
        Directive(**values(record, id=uuid7(), idempotency_key=f"{record.idempotency_key} again"))
        for record in mine
    )
    assert len(mine) == len(theirs) == 3 + len(TEXTS)
    for one, other in zip(mine, theirs, strict=True):
        one.refresh_from_db()
        other.refresh_from_db()
        same = {"id": None, "idempotency_key": None}
        assert values(one, **same) == values(other, **same)


def test_what_request_many_gives_back_is_what_is_stored(forum):
    later = timezone.now() + timedelta(hours=1)
    posts = [str(post.pk) for post in forum.posts]
    ask("forum.post.hide", {"post_id": posts[2]})
    answers = request_many(
        [
            ("forum.post.hide", {"post_id": posts[0].upper(), "reason": "spam ☃"}),
            DirectiveRequest("forum.post.unhide", {"post_id": posts[0]}, "no spam", None, later),
            (
                "forum.thread.lock",
                {"thread_id": str(forum.thread.pk), "expected_revision": 1},
                "",
                "my key",
            ),
            ("forum.post.hide", {"post_id": posts[2]}),
            ("zoo.animal.work", {"animal": "cat", "note": TEXTS[2]}),
        ],
        actor=TESTER,
        reason="for all",
        metadata={"texts": TEXTS},
    )
    assert [answer.created for answer in answers] == [True, True, True, False, True]
    for answer in answers:
        stored = Directive.objects.get(pk=answer.directive.pk)
        assert values(answer.directive) == values(stored)
        assert answer.directive._state.adding is False
    for directive in [answer.directive for answer in answers if answer.created]:
        signal = Signal.objects.get(causation_id=str(directive.pk))
        expected = bus.fact(
            "directive.requested",
            {
                "name": directive.name,
                "attempt": 0,
                "reason": salted(directive.personal, "reason"),
                "idempotency_key": directive.idempotency_key,
                "scheduled_at": directive.scheduled_at.isoformat(),
            },
            dedupe_key=f"directive.requested:alpha:{directive.pk}:0",
            actor=TESTER,
            subject=directive.subject,
            source="directives",
            correlation_id=directive.correlation_id,
            causation_id=str(directive.pk),
            member_id=directive.member_id,
        )
        expected.payload = disclose(expected.payload, expected.personal)
        same = {"id": None, "occurred_at": None, "recorded_at": None}
        assert values(signal, **same) == values(expected, **same)
    assert [answer.directive.scheduled_at == later for answer in answers] == [
        False,
        True,
        False,
        False,
        False,
    ]


def test_known_values_are_left_out_and_the_others_stored(alpha):
    def facts(*keys: str) -> list[Signal]:
        return [bus.fact("a.b", dedupe_key=key, actor=TESTER, subject=Subject("a.b", key)) for key in keys]

    rows.insert(facts("1", "2"))
    some = facts("0", "1", "3", "3")
    assert rows.insert(some) == [some[0], some[2]]
    assert sorted(Signal.objects.values_list("dedupe_key", flat=True)) == ["0", "1", "2", "3"]
    assert rows.insert([]) == []


def test_all_rows_of_a_statement_get_one_moment_in_it(alpha, monkeypatch):
    monkeypatch.setattr(rows, "BATCH_SIZE", 2)
    facts = [bus.fact("a.b", dedupe_key=str(n), actor=TESTER) for n in range(5)]
    facts[0].recorded_at = early = datetime(2020, 1, 1, tzinfo=UTC)
    rows.insert(facts)
    stored = list(Signal.objects.order_by("dedupe_key").values_list("recorded_at", "occurred_at"))
    assert stored == [(fact.recorded_at, fact.occurred_at) for fact in facts]
    recorded, occurred = zip(*stored, strict=True)
    assert recorded[0] == early
    assert occurred[0] == occurred[1] < occurred[2] == occurred[3] < occurred[4]
    assert recorded[1:] == occurred[1:]


def test_what_the_table_refuses_is_an_error(alpha):
    with pytest.raises(DatabaseError, match="directive_actor_type"):
        rows.insert([Directive(name="a.b", idempotency_key="1", actor_type="ghost", actor_id="1")])
    with pytest.raises(DatabaseError, match="too long"):
        rows.insert([Directive(name="a.b", idempotency_key="2" * 513, actor_type="user", actor_id="1")])
    assert Directive.objects.count() == 0
