"""Any JSON in a payload, a result, metadata or a signal is shown as it is, and so are odd times in it."""

import json
from html import unescape
from uuid import uuid4

import pytest
from django.utils.html import strip_tags
from hypothesis import given
from hypothesis import strategies as st

from directives.display.json_html import json_html
from fleetprompt.tenants.context import in_tenant
from signals import bus
from signals.types import Subject
from tests.admin import client_of
from tests.hostile.strategies import examples, nested
from tests.support import TESTER, ask, ask_animal, change, make_forum, run

NAMES = ("items", "keys", "values", "get", "0", "1", "name", "count", "pop", "attempt", "until", "")
VALUES = (
    {"items": ["ab", "cd"]},
    {"items": [], "who": "somebody"},
    {"items": {"items": "inner"}, "keys": 1, "values": None, "get": True, "0": "zero", "1": [[]]},
    {"pairs": [["ab", "cd"], ["ef"]], "empty": {}, "none": [], "text": "", "null": None},
    {"name": "a name of its own", "attempt": "first", "idempotency_key": "mine"},
    {"deep": nested(48, lists=False), "lists": nested(45, lists=True)},
)
TIMES = (
    "2026-12-01",
    "2026-12-01T10:00:00",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-12:00",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "20261201",
    "2026-W49-2",
    12,
    ["2026-12-01"],
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20),
    st.sampled_from(["yes", "–", "{}", "<b>", "a: b"]),
)
keys = st.sampled_from(NAMES) | st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)
documents = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4)
)


def texts(value):
    """Return the texts that a page must show for a value: every key, and every leaf, in their order."""
    if isinstance(value, dict) and value:
        return [text for key, item in value.items() for text in (key, *texts(item))]
    if isinstance(value, list) and value:
        return [text for item in value for text in texts(item)]
    return [value if isinstance(value, str) else json.dumps(value)]


WORDS = {"true": ("yes", "true"), "false": ("no", "false"), "null": ("–", "null")}


def check_shown(value, text):
    """Check that the texts of a value occur one after the other."""
    place = 0
    for expected in texts(value):
        written = {*WORDS.get(expected, (expected,)), json.dumps(expected, ensure_ascii=False)[1:-1]}
        found = [at + len(word) for word in written if (at := text.find(word, place)) >= 0]
        assert found, (expected, text[place : place + 200])
        place = min(found)


@given(value=documents)
@examples(200)
def test_every_key_and_every_leaf_of_any_json_is_shown(value):
    html = json_html(value)
    check_shown(value, unescape(strip_tags(html)))
    assert html.count("<dl") == html.count("</dl>")


@pytest.mark.parametrize("lists", [False, True])
def test_json_of_any_depth_is_shown(lists):
    html = json_html(nested(100_000, lists=lists))
    assert "deep" in html
    assert html.count("<dd>") + html.count("<li>") < 10


def test_what_looks_alike_is_told_apart():
    values = ["", None, {}, [], True, "yes", "–", "{}", 0, False]
    shown = [json_html([value]) for value in values]
    assert len({*shown}) == len(values)


@pytest.fixture
def root(database):
    return client_of("root", superuser=True)


def pages_with(root, payload):
    """Return a value as the database orders it, and the pages that show it, in all columns."""
    with in_tenant("alpha"):
        forum = make_forum(1)
        post = forum.posts[0]
        directive = run_one(post, payload)
        emitted = bus.emit(
            "outside.seen", payload, dedupe_key=str(uuid4()), actor=TESTER, subject=post.subject
        ).signal
        bus.emit(
            "outside.seen",
            payload,
            dedupe_key=str(uuid4()),
            actor=TESTER,
            subject=post.subject,
            causation_id=str(directive.pk),
        )
        emitted.refresh_from_db()
    base = f"forums/post/{post.pk}"
    return emitted.payload, {
        "directive": root.text(f"directives/directive/{directive.pk}/change/"),
        "subject": root.text(f"{base}/change/"),
        "history": root.text(f"{base}/history/"),
        "thread's history": root.text(f"forums/thread/{post.thread_id}/history/"),
        "signal": root.text(f"signals/signal/{emitted.pk}/change/"),
    }


def run_one(post, payload):
    directive = ask("forum.post.hide", {"post_id": str(post.pk)}).directive
    run(directive)
    change(directive, payload=payload, result=payload, metadata=payload)
    return directive


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_pages_show_any_json(root, value):
    stored, pages = pages_with(root, value)
    for page in pages.values():
        check_shown(stored, unescape(strip_tags(page)))


def test_values_that_are_no_objects_are_shown_too(root):
    with in_tenant("alpha"):
        directive = ask_animal("refuse")
        run(directive)
        change(directive, payload=["ab", "cd"], result=[], metadata="text")
    page = root.text(f"directives/directive/{directive.pk}/change/")
    assert "<li>ab</li><li>cd</li>" in page
    assert "text" in page
    assert root.text("signals/signal/")


@pytest.mark.parametrize("value", TIMES, ids=str)
@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Etc/GMT+12"])
def test_odd_times_in_a_signal_are_shown_as_they_are(root, value, zone):
    root.cookies["timezone"] = zone
    with in_tenant("alpha"):
        forum = make_forum(1)
        subject = Subject("forum.post", str(forum.posts[0].pk))
        directive = ask("forum.post.hide", {"post_id": subject.id}).directive
        for name in ("directive.snoozed", "outside.seen"):
            for cause in (None, str(directive.pk)):
                bus.emit(
                    name,
                    {"until": value, "scheduled_at": value},
                    dedupe_key=str(uuid4()),
                    actor=TESTER,
                    subject=subject,
                    causation_id=cause,
                )
    for path in (
        f"directives/directive/{directive.pk}/change/",
        f"forums/post/{subject.id}/change/",
        f"forums/post/{subject.id}/history/",
    ):
        assert str(value if isinstance(value, str | int) else value[0]) in root.text(path)
