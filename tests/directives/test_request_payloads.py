"""Bad payloads: each names the field that is wrong, and changes nothing."""

from uuid import uuid4

import pytest

from directives.errors import InvalidPayload, Refused, SecretRefused
from directives.models import Directive
from directives.requests import request_many
from signals.models import Signal
from tests.support import ABSENT, TESTER, ask, messages

ID = str(uuid4())
POST = {"post_id": ID}
CREATE = {"thread_id": ID, "content": "hi", "author_id": "bot", "client_request_id": "1"}

BAD = {
    "missing field": ("forum.post.hide", {}, "payload.post_id"),
    "other subject's field": ("forum.post.hide", {"thread_id": ID}, "payload.post_id"),
    "unknown field": ("forum.post.hide", {**POST, "colour": "red"}, "payload.colour"),
    "id that is none": ("forum.post.hide", {"post_id": "7"}, "payload.post_id"),
    "id as a number": ("forum.post.hide", {"post_id": 7}, "payload.post_id"),
    "id as null": ("forum.post.hide", {"post_id": None}, "payload.post_id"),
    "id as a list": ("forum.post.hide", {"post_id": [ID]}, "payload.post_id"),
    "revision as text": (
        "forum.post.hide",
        {**POST, "expected_revision": "1"},
        "payload.expected_revision",
    ),
    "revision as yes": (
        "forum.post.hide",
        {**POST, "expected_revision": True},
        "payload.expected_revision",
    ),
    "negative revision": (
        "forum.post.hide",
        {**POST, "expected_revision": -1},
        "payload.expected_revision",
    ),
    "long reason": ("forum.post.hide", {**POST, "reason": "x" * 1001}, "payload.reason"),
    "reason as a number": ("forum.post.hide", {**POST, "reason": 3}, "payload.reason"),
    "another subject": (
        "forum.post.hide",
        {**POST, "subject": {"type": "forum.post", "id": ABSENT}},
        "payload.subject",
    ),
    "half a subject": (
        "forum.post.hide",
        {**POST, "subject": {"type": "forum.post"}},
        "payload.subject.id",
    ),
    "empty content": ("forum.post.create", {**CREATE, "content": ""}, "payload.content"),
    "long content": ("forum.post.create", {**CREATE, "content": "x" * 20_001}, "payload.content"),
    "human author": ("forum.post.create", {**CREATE, "author_type": "human"}, "payload.author_type"),
    "NUL": ("forum.post.create", {**CREATE, "content": "a\x00b"}, "payload.content"),
    "surrogate": ("forum.post.create", {**CREATE, "author_id": "\ud800"}, "payload.author_id"),
    "more than 64 KiB": ("forum.post.create", {**CREATE, "content": "\U0001f600" * 20_000}, "65536"),
    "no JSON": ("forum.post.hide", {"post_id": {1, 2}}, "payload"),
    "not a number": ("zoo.animal.work", {"animal": "cat", "seconds": float("nan")}, "payload"),
    "keys that are no text": ("forum.post.hide", {1: ID}, "payload"),
    "no object": ("forum.post.hide", [ID], "payload: expected an object"),
    "nothing": ("forum.post.hide", None, "payload: expected an object"),
}


def nothing_happened():
    return not Directive.objects.exists() and not Signal.objects.exists() and messages() == 0


@pytest.mark.parametrize("case", BAD)
def test_a_bad_payload_names_the_field_and_changes_nothing(alpha, case):
    name, payload, field = BAD[case]
    with pytest.raises(InvalidPayload) as caught:
        ask(name, payload)
    assert field in str(caught.value)
    assert nothing_happened()


def test_every_wrong_field_is_named_at_once(alpha):
    with pytest.raises(InvalidPayload) as caught:
        ask("forum.post.create", {**CREATE, "content": 5, "author_id": "", "mood": "good"})
    for field in ("payload.content", "payload.author_id", "payload.mood"):
        assert field in str(caught.value)


def test_what_was_wrong_is_not_repeated(alpha):
    with pytest.raises(InvalidPayload) as caught:
        ask("forum.post.hide", {"post_id": "hunter2"})
    assert "hunter2" not in str(caught.value)


SECRETS = {
    "payload.password": {**POST, "password": "x"},
    "payload.apiKey": {**POST, "apiKey": "x"},
    "payload.nested.access_token": {**POST, "nested": {"access_token": "x"}},
    "payload.headers[0].Authorization": {**POST, "headers": [{"Authorization": "x"}]},
    "payload.reason": {**POST, "reason": "use AKIA" + "A" * 16},
}


@pytest.mark.parametrize("field", SECRETS)
def test_a_payload_that_looks_like_a_secret_names_the_field_and_changes_nothing(alpha, field):
    with pytest.raises(SecretRefused) as caught:
        ask("forum.post.hide", SECRETS[field])
    assert f"{field}: " in str(caught.value)
    assert nothing_happened()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("reason", "my key is ghp_" + "a" * 36),
        ("metadata", {"token": "x"}),
        ("metadata", {"note": "-----BEGIN RSA PRIVATE KEY-----"}),
    ],
)
def test_a_secret_beside_the_payload_is_refused_too(alpha, option, value):
    with pytest.raises(SecretRefused, match=option):
        ask("forum.post.hide", POST, **{option: value})
    assert nothing_happened()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("reason", "x" * 1001),
        ("reason", "a\x00b"),
        ("reason", 5),
        ("idempotency_key", ""),
        ("idempotency_key", " "),
        ("idempotency_key", "k" * 513),
        ("idempotency_key", "a\x00b"),
        ("idempotency_key", 5),
        ("correlation_id", "c" * 256),
        ("causation_id", "c" * 256),
        ("metadata", ["a"]),
        ("metadata", {"when": object()}),
        ("metadata", {"lost_signals": 5}),
        ("metadata", {"lost_signals": []}),
        ("metadata", {"page": 1, "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}),
    ],
)
def test_a_bad_argument_is_named_and_changes_nothing(alpha, option, value):
    with pytest.raises(Refused, match=option):
        ask("forum.post.hide", POST, **{option: value})
    assert nothing_happened()


@pytest.mark.parametrize("item", [None, 5, {}, {"name": "forum.post.hide"}, {"nom": "x"}, (), ("a",) * 9])
def test_an_item_of_a_batch_that_is_no_request_is_refused(alpha, item):
    with pytest.raises(InvalidPayload, match="name and payload at least"):
        request_many([item], actor=TESTER)
    assert nothing_happened()


def test_limits_are_inclusive(alpha):
    payload = {**CREATE, "content": "x" * 20_000, "reason": "r" * 1000}
    assert ask("forum.post.create", payload, idempotency_key="k" * 512).created
