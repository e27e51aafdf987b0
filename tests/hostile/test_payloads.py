"""Hostile payloads: refused with a sentence that can be shown, or stored as they were understood."""

import json
from uuid import uuid4

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from directives import operations, registry, requests, runner
from directives.errors import Refused
from directives.models import Directive
from fleetprompt.errors import BEGINNING_CHARACTERS, END_CHARACTERS, MAX_MESSAGES
from fleetprompt.visible import visible
from signals.models import Signal
from signals.types import LARGEST, Actor, is_storable, json_object
from tests.hostile.strategies import broken, examples, values
from tests.support import TESTER, messages

# The other animals sleep, end their process, or leave their tenant.
HARMLESS = {f"zoo.animal.{name}" for name in ("refuse", "crash", "babble", "mute", "pretend")}
ENDED = {*Directive.TERMINAL, "requested"}


def assert_can_be_shown(refusal):
    for message in refusal.messages:
        assert is_storable(message)
        assert 0 < len(message) <= 10 * (BEGINNING_CHARACTERS + END_CHARACTERS)
        assert visible(message) == message
    assert len(refusal.messages) <= MAX_MESSAGES + 1
    assert ": " in refusal.messages[0]


def payloads(handler):
    """Payloads for a handler: some of its fields right, some hostile, some of nobody's."""
    names = list(handler.Payload.model_fields)
    good = {
        name: str(uuid4()) if name.endswith("_id") else "text"
        for name in names
        if handler.Payload.model_fields[name].is_required()
    }
    hostile = st.dictionaries(st.sampled_from(names) | broken, values, max_size=3)
    return hostile.map(lambda fields: {**good, **fields}) | hostile | values


@given(data=st.data())
@examples(150)
def test_a_payload_is_refused_or_stored_as_it_was_understood(alpha, data):
    handler = data.draw(st.sampled_from(registry.handlers()))
    payload = data.draw(payloads(handler))
    before = Directive.objects.count(), Signal.objects.count(), messages()
    try:
        directive, _ = requests.request(
            handler.name, payload, actor=TESTER, idempotency_key=data.draw(st.none() | broken)
        )
    except Refused as refusal:
        assert_can_be_shown(refusal)
        assert (Directive.objects.count(), Signal.objects.count(), messages()) == before
        return
    stored = Directive.objects.get(pk=directive.pk)
    assert stored.payload == handler.dump(handler.parse(payload))
    again = requests.request(handler.name, payload, actor=TESTER, idempotency_key=stored.idempotency_key)
    assert again == (stored, False)
    if handler.name.startswith("zoo.") and handler.name not in HARMLESS:
        operations.cancel(stored.pk, actor=TESTER, reason="does harm")
    runner.run_due()
    stored.refresh_from_db()
    assert stored.status in ENDED
    assert is_storable(stored.last_error)


@given(data=st.data())
@examples(40)
def test_what_surrounds_a_payload_is_refused_or_stored(alpha, data):
    options = {
        name: data.draw(st.none() | values, name)
        for name in ("reason", "idempotency_key", "correlation_id", "causation_id", "metadata")
    }
    given_ = {name: value for name, value in options.items() if value is not None}
    name = data.draw(st.just("forum.post.hide") | broken, "name")
    try:
        actor = Actor(
            *data.draw(st.tuples(st.sampled_from(["system", "agent", "user"]) | broken, values, broken))
        )
        directive, _ = requests.request(name, {"post_id": str(uuid4())}, actor=actor, **given_)
    except Refused as refusal:
        assert_can_be_shown(refusal)
        return
    stored = Directive.objects.get(pk=directive.pk)
    assert stored.actor == actor
    for name, value in given_.items():
        assert getattr(stored, name) == value or value in ("", {})


@given(st.lists(values | st.tuples(st.sampled_from(["forum.post.hide"]), values), max_size=4))
@examples(40)
def test_a_batch_is_taken_or_refused_whole(alpha, items):
    before = Directive.objects.count()
    try:
        requests.request_many(items, actor=TESTER)
    except Refused as refusal:
        assert_can_be_shown(refusal)
        assert Directive.objects.count() == before


@given(values)
@examples(150)
def test_json_that_is_taken_is_what_the_database_gives_back(alpha, value):
    try:
        plain = json_object("payload", {"value": value})
    except Refused as refusal:
        assert_can_be_shown(refusal)
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::jsonb::text", [json.dumps(plain)])
        assert json.loads(cursor.fetchone()[0]) == plain


@pytest.mark.parametrize("number", [LARGEST + 1, -LARGEST - 1, 1e16, 1e308, 10**400])
def test_numbers_beyond_those_that_all_programs_agree_on_are_refused(number):
    with pytest.raises(
        Refused, match=r"^payload.times.at\[0\]: expected numbers from -9007199254740991 to"
    ):
        json_object("payload", {"times": {"at": [number]}})
    assert json_object("payload", {"times": LARGEST, "share": 0.1}) == {"times": LARGEST, "share": 0.1}


@pytest.mark.parametrize(
    "payload",
    [
        {"x" * 60_000: 1},
        {f"field{number}": number for number in range(3000)},
        {"\u202eevil\u001b[2J": 1},
        {"a" * 9_000: {"b" * 9_000: {"c" * 9_000: "\ud800"}}},
    ],
)
def test_a_refusal_is_short_and_shows_what_hides_in_it(alpha, payload):
    with pytest.raises(Refused) as refused:
        requests.request("forum.post.hide", payload, actor=TESTER)
    assert_can_be_shown(refused.value)
    assert len(str(refused.value)) < MAX_MESSAGES * (BEGINNING_CHARACTERS + END_CHARACTERS)
