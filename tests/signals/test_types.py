"""Validation of actors, subjects, names and payloads."""

import json
import math
import re
import unicodedata
from functools import partial
from uuid import uuid4

import pytest
from django.core.exceptions import ValidationError
from hypothesis import example, given
from hypothesis import strategies as st

from signals.types import (
    ID_LENGTH,
    LARGEST,
    NAME_LENGTH,
    Actor,
    Subject,
    check_identifier,
    check_name,
    check_text,
    json_object,
    stored_actor,
    stored_subject,
)

NUMBERS = st.integers(-LARGEST, LARGEST) | st.floats(-LARGEST, LARGEST)
SCALARS = st.none() | st.booleans() | NUMBERS
TEXTS = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))
JSON = st.recursive(
    SCALARS | TEXTS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=10
)


@pytest.mark.parametrize(
    "name", ["forum.thread.locked", "a.b", "0.1", "directive.requested", "_._", "a" * 253 + ".b"]
)
def test_names_are_dotted_lower_case_parts(name):
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", "forum", ".forum", "forum.", "forum..post", "Forum.post", "forum post.hide", "forum-x.y"),
        *("ä.b", "forum.post\n", "a" * 254 + ".b", None, 7, b"forum.post", ["forum.post"]),
    ],
)
def test_other_names_are_refused(name):
    with pytest.raises(ValidationError, match="name: expected dotted lower-case parts"):
        check_name(name)


@given(st.text(max_size=300) | st.text("ab._", max_size=300))
@example("a." * 200)
def test_a_name_is_taken_exactly_when_it_has_the_promised_form(name):
    promised = bool(re.fullmatch(r"[a-z0-9_]+(\.[a-z0-9_]+)+", name)) and len(name) <= NAME_LENGTH
    try:
        taken = check_name(name) == name
    except ValidationError:
        taken = False
    assert taken == promised


@pytest.mark.parametrize("kind", Actor.TYPES)
def test_an_actor_has_a_type_an_id_and_maybe_a_label(kind):
    assert str(Actor(kind, "7")) == f"{kind}:7"
    assert str(Actor(kind, "7", "Ann")) == "Ann"
    assert Actor(kind, 7) == Actor(kind, "7")


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("robot", "7"), "actor.type"),
        (("", "7"), "actor.type"),
        ((None, "7"), "actor.type"),
        (("USER", "7"), "actor.type"),
        (("user", ""), "actor.id"),
        (("user", "  "), "actor.id"),
        (("user", "x" * (ID_LENGTH + 1)), "actor.id"),
        (("user", "a\x00b"), "actor.id"),
        (("user", "7", "x" * (ID_LENGTH + 1)), "actor.label"),
        (("user", "7", "\ud800"), "actor.label"),
        (("user", "7", None), "actor.label"),
    ],
)
def test_an_actor_that_could_not_be_stored_is_refused(arguments, field):
    with pytest.raises(ValidationError, match=f"{field}: expected"):
        Actor(*arguments)


CONTROLS = ["a\nb", "a\r", "\tb", "\x1b[2J", "\x7f", "a\x85", "\x9f", "a\u2028b", "a\u2029"]


@pytest.mark.parametrize("text", CONTROLS)
def test_control_characters_are_refused_in_ids_and_let_through_in_labels(text):
    for make in (partial(Actor, "agent"), partial(Subject, "forum.post")):
        with pytest.raises(ValidationError, match=r"(actor|subject)\.id: expected no control characters"):
            make(text)
    with pytest.raises(ValidationError, match="field: expected no control characters"):
        check_identifier("field", text, length=80)
    assert Actor("agent", "x", text).label == check_text("reason", text, length=80) == text


@given(st.text(max_size=12))
def test_an_identifier_is_a_text_in_one_line(text):
    promised = all(unicodedata.category(letter) not in ("Cc", "Cs", "Zl", "Zp") for letter in text)
    try:
        taken = check_identifier("field", text, length=12) == text
    except ValidationError:
        taken = False
    assert taken == promised


@pytest.mark.parametrize("text", ["001", "٧", "７", "+7", "0_7", "-0", " 7", "7 ", "7\u3000"])
def test_a_user_has_one_form_only(text):
    with pytest.raises(ValidationError, match=r"actor\.id: expected the id in its one form, '[0-9]+'"):
        Actor("user", text)


@given(st.integers(1, 2**31 - 1))
def test_that_form_is_the_one_of_the_primary_key(pk):
    assert Actor("user", pk) == Actor("user", str(pk))


@pytest.mark.parametrize("kind", ["agent", "system"])
@pytest.mark.parametrize("text", [" bot", "bot ", "\u00a0bot", "Zoe\u0308"])
def test_agents_and_systems_have_one_form_too(kind, text):
    with pytest.raises(ValidationError, match=r"actor\.id: expected the id in its one form"):
        Actor(kind, text)
    assert Actor(kind, unicodedata.normalize("NFC", text.strip())).label == ""


def test_what_is_stored_is_read_as_it_is():
    assert stored_actor("robot", "a\nb", "\x85").id == "a\nb"
    assert stored_subject("Nothing", "a\nb") == stored_subject("Nothing", "a\nb")
    assert stored_actor("user", "7", "Ann") == Actor("user", "7", "Ann")


def test_actors_and_subjects_cannot_be_changed():
    for value in (Actor("user", "7"), Subject("forum.post", "7")):
        with pytest.raises(AttributeError):
            value.id = "8"


def test_a_subject_is_a_name_and_an_id():
    identifier = uuid4()
    subject = Subject("forum.post", identifier)
    assert (subject.id, str(subject)) == (str(identifier), f"forum.post:{identifier}")


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("post", "7"), "name"),
        (("forum.Post", "7"), "name"),
        (("forum.post", ""), "subject.id"),
        (("forum.post", "x" * (ID_LENGTH + 1)), "subject.id"),
        (("forum.post", "\x00"), "subject.id"),
    ],
)
def test_a_subject_that_could_not_be_stored_is_refused(arguments, field):
    with pytest.raises(ValidationError, match=f"{field}: expected"):
        Subject(*arguments)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"at": uuid4()}, "expected JSON values"),
        ({"all": {1, 2}}, "expected JSON values"),
        ({"all": b"bytes"}, "expected JSON values"),
        ({"number": math.nan}, "expected JSON values"),
        ({"number": -math.inf}, "expected JSON values"),
        ({1: "one"}, "expected text as keys"),
        ({"deep": [{"x": "\x00"}]}, r"field\.deep\[0\]\.x: expected text without NUL"),
        ({"\ud800": 1}, "field: expected text without NUL"),
        (["a"], "field: expected an object; got a list"),
        ("text", "field: expected an object; got text"),
        (None, "field: expected an object; got null"),
    ],
)
def test_what_json_or_the_database_has_no_form_for_is_refused(value, expected):
    with pytest.raises(ValidationError, match=expected):
        json_object("field", value)


def test_an_object_that_contains_itself_is_refused():
    endless: dict = {}
    endless["self"] = endless
    with pytest.raises(ValidationError, match="field: expected JSON values"):
        json_object("field", endless)


@pytest.mark.parametrize("depth", [995, 5_000, 100_000])
def test_an_object_nested_deeper_than_the_stack_is_refused(depth):
    deep: dict = {}
    for _ in range(depth):
        deep = {"a": deep}
    with pytest.raises(ValidationError, match="field: expected JSON values"):
        json_object("field", deep)


@given(st.dictionaries(TEXTS, JSON, max_size=4))
def test_json_comes_back_as_it_was_and_as_a_copy(value):
    copy = json_object("field", value)
    assert copy == json.loads(json.dumps(value))
    assert copy is not value


@given(st.text(max_size=12), st.integers(0, 12), st.booleans())
def test_a_text_is_taken_exactly_when_it_can_be_stored(text, length, required):
    storable = not re.search("[\x00\ud800-\udfff]", text)
    promised = len(text) <= length and storable and (bool(text.strip()) or not required)
    try:
        taken = check_text("field", text, length=length, required=required) == text
    except ValidationError:
        taken = False
    assert taken == promised
