"""Refusals of payload models are plain sentences; pydantic's phrases never appear."""

import re
from collections import deque
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from django.core.exceptions import ImproperlyConfigured, ValidationError
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    FutureDate,
    HttpUrl,
    NaiveDatetime,
    PastDatetime,
    create_model,
    model_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_core._pydantic_core import list_all_errors

from directives.errors import InvalidPayload
from directives.handlers import DirectivePayload, Handler, Identifier
from fleetprompt import environment
from fleetprompt.tenants import records
from fleetprompt.validation_errors import _TEMPLATES

PYTHON_ONLY = {
    *("no_such_attribute", "get_attribute_error", "needs_python_object", "default_factory_not_called"),
    *("frozen_field", "frozen_instance", "is_instance_of", "is_subclass_of", "callable_type"),
    *("missing_argument", "unexpected_keyword_argument", "missing_keyword_only_argument"),
    *("unexpected_positional_argument", "missing_positional_only_argument", "multiple_argument_values"),
    *("iteration_error", "set_item_not_hashable", "missing_sentinel_error", "ellipsis_error"),
}
"""Errors of objects and calls in Python: no JSON leads to one."""
VALIDATORS = {"value_error", "assertion_error"}
"""Errors that bring a sentence of their own."""
PYDANTICS = re.compile(
    r"Input |Value error|Assertion failed|Extra inputs|Field required|Unable to|function-|constrained"
    r"|(String|List|Dictionary|Tuple|Set) should"
)


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Cat(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: Literal["cat"]
    lives: int = Field(ge=0)


class Dog(BaseModel):
    kind: Literal["dog"]
    tricks: list[str] = []


def _even(value: int) -> int:
    if value % 2:
        # Raised, where a validator would write `assert`: pytest adds to the text of those.
        raise AssertionError("expected an even number")
    return value


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise PydanticCustomError("odd", "expected an odd number")
    return value


def _free(value: int) -> int:
    if value in (13, 17):
        # Named like errors of pydantic that have details, which these do not have.
        raise PydanticCustomError("too_long" if value == 13 else "int_type", "expected a free seat")
    return value


Tag = Annotated[str, Field(pattern="^[a-z]+$")]
KINDS: dict[str, Any] = {
    "text": Annotated[str, Field(min_length=2, max_length=3)],
    "line": Identifier,
    "number": int,
    "bounded": Annotated[int, Field(ge=1, lt=10)],
    "share": Annotated[float, Field(gt=0, le=1)],
    "tens": Annotated[int, Field(multiple_of=10)],
    "price": Annotated[Decimal, Field(max_digits=4, decimal_places=2)],
    "yes": bool,
    "id": UUID,
    "day": date,
    "coming": FutureDate,
    "at": datetime,
    "gone": PastDatetime,
    "aware": AwareDatetime,
    "naive": NaiveDatetime,
    "clock": time,
    "lasting": timedelta,
    "site": HttpUrl,
    "colour": Colour,
    "word": Literal["a", "b"],
    "tags": Annotated[list[Tag], Field(min_length=1, max_length=2)],
    "unique": set[int],
    "pair": tuple[int, str],
    "line_up": deque[int],
    "numbers": dict[Annotated[str, Field(max_length=3)], int],
    "mapping": Mapping[str, int],
    "either": int | list[int],
    "pet": Annotated[Cat | Dog, Field(discriminator="kind")],
    "animal": Cat | Dog,
    "cat": Cat,
    "even": Annotated[int, AfterValidator(_even)],
    "odd": Annotated[int, AfterValidator(_odd)],
    "seat": Annotated[int, AfterValidator(_free)],
    "nothing": None,
}


def handler(name: str) -> Handler[Any]:
    """Return a handler whose payload has one field, of that kind."""
    model = create_model("Payload", __base__=DirectivePayload, value=(KINDS[name], ...))
    return type("OfOneField", (Handler,), {"Payload": model})()


def refusal(name: str, payload: dict[str, Any]) -> list[str]:
    """Return what is said of a payload."""
    with pytest.raises(InvalidPayload) as refused:
        handler(name).parse(payload)
    return refused.value.messages


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("text", 7, ": expected text; got a number"),
        ("text", None, ": expected text; got null"),
        ("text", "a", ": expected at least 2 characters; got 1"),
        ("text", "abcd", ": expected at most 3 characters; got 4"),
        ("line", "a\nb", ": expected no control characters or line breaks"),
        ("number", "7", ": expected a whole number; got text"),
        ("number", 1.5, ": expected a whole number; got a decimal number"),
        ("number", True, ": expected a whole number; got true or false"),
        ("bounded", 0, ": expected at least 1"),
        ("bounded", 10, ": expected less than 10"),
        ("share", 0, ": expected more than 0.0"),
        ("share", 2.5, ": expected at most 1.0"),
        ("tens", 7, ": expected a multiple of 10"),
        ("price", "1.234", ": expected at most 2 decimal places"),
        ("price", "12345", ": expected at most 4 digits"),
        ("price", [], ": expected a number; got a list"),
        ("yes", "yes", ": expected true or false; got text"),
        ("id", "7", ": expected a UUID"),
        ("id", 7, ": expected a UUID; got a number"),
        ("day", "31.1.2030", ": expected a date, such as 2030-01-31"),
        ("coming", "2001-01-01", ": expected a date or time in the future"),
        ("at", "soon", ": expected a time, such as 2030-01-31T09:00:00Z"),
        ("gone", "9000-01-01T00:00", ": expected a date or time in the past"),
        ("aware", "2030-01-31T09:00", ": expected a time with an offset, such as +00:00"),
        ("naive", "2030-01-31T09:00Z", ": expected a time without an offset"),
        ("clock", "noon", ": expected a time of day, such as 09:00:00"),
        ("lasting", "long", ": expected a duration, such as PT90M"),
        ("site", "ftp://a.org", ": expected a URL that starts with 'http' or 'https'"),
        ("site", "nowhere", ": expected a URL"),
        ("colour", "green", ": expected 'red' or 'blue'"),
        ("word", 7, ": expected 'a' or 'b'"),
        ("tags", {}, ": expected a list; got an object"),
        ("tags", [], ": expected at least 1 item; got 0"),
        ("tags", ["a", "b", "c"], ": expected at most 2 items; got 3"),
        ("tags", ["a", "7"], "[1]: expected text that matches ^[a-z]+$"),
        ("unique", 7, ": expected a list; got a number"),
        ("pair", [1, 2], "[1]: expected text; got a number"),
        ("line_up", {}, ": expected a list; got an object"),
        ("numbers", {"a": "b"}, ".a: expected a whole number; got text"),
        ("numbers", {"long": 1}, ".long: expected at most 3 characters as its name; got 4"),
        ("mapping", [], ": expected an object; got a list"),
        ("either", "x", ": expected a whole number or a list; got text"),
        ("pet", {"kind": "cow"}, ": expected 'kind' to be one of 'cat', 'dog'"),
        ("pet", {}, ": expected 'kind', which says of what kind it is"),
        ("pet", {"kind": "dog", "tricks": [7]}, ".tricks[0]: expected text; got a number"),
        ("pet", {"kind": "cat"}, ".lives: expected a value; it is missing"),
        ("animal", {"kind": "cow", "lives": 9}, ".kind: expected 'cat' or 'dog'"),
        ("cat", {"kind": "cat", "lives": 9, "name": "Tom"}, ".name: expected no such field"),
        ("even", 1, ": expected an even number"),
        ("odd", 2, ": expected an odd number"),
        ("seat", 13, ": expected a free seat"),
        ("seat", 17, ": expected a free seat"),
        ("nothing", 1, ": expected null"),
    ],
)
def test_a_sentence_names_the_place_and_what_was_expected(name, value, sentence):
    assert refusal(name, {"value": value}) == [f"payload.value{sentence}"]


def test_missing_and_unknown_fields_are_named():
    assert refusal("text", {"vlaue": "ab"}) == [
        "payload.value: expected a value; it is missing",
        "payload.vlaue: expected only the fields value, reason, subject, expected_revision",
    ]


def test_a_sentence_about_the_whole_names_the_payload():
    class Whole(DirectivePayload):
        @model_validator(mode="after")
        def _check(self) -> "Whole":
            raise ValueError("expected a post or a thread")

    with pytest.raises(InvalidPayload) as refused:
        type("OfWhole", (Handler,), {"Payload": Whole})().parse({})
    assert refused.value.messages == ["payload: expected a post or a thread"]


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text("ab-7", max_size=5)
)
JSON = (
    SCALARS
    | st.lists(SCALARS, max_size=3)
    | st.dictionaries(st.text("ab", max_size=5), SCALARS, max_size=3)
)
JSON |= st.fixed_dictionaries(
    {"kind": st.sampled_from(["cat", "dog"])}, optional={"lives": JSON, "tricks": JSON}
)


@given(st.sampled_from(sorted(KINDS)), st.dictionaries(st.sampled_from(["value", "x"]), JSON, max_size=2))
def test_no_phrase_of_pydantic_reaches_anybody(name, payload):
    try:
        handler(name).parse(payload)
    except InvalidPayload as refused:
        for message in refused.messages:
            # What was sent may stand in the place.
            where, _, sentence = message.partition(": expected ")
            assert sentence, message
            assert not PYDANTICS.search(sentence), message
            assert where.startswith("payload")


def test_every_error_of_pydantic_has_a_sentence():
    known = {error["type"] for error in list_all_errors()}
    assert known - PYTHON_ONLY - VALIDATORS - set(_TEMPLATES) == set()
    assert set(_TEMPLATES) <= known
    for error in list_all_errors():
        if error["type"] in _TEMPLATES:
            _TEMPLATES[error["type"]].format_map(error.get("example_context") or {})


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("DEBUG", "perhaps", "DEBUG: expected true or false"),
        ("SECRET_KEY", "short", "SECRET_KEY: expected at least 32 characters; got 5"),
        ("LOG_FORMAT", "xml", "LOG_FORMAT: expected 'line' or 'json'"),
        ("TRUSTED_PROXY_COUNT", "many", "TRUSTED_PROXY_COUNT: expected a whole number"),
    ],
)
def test_a_wrong_setting_is_told_in_the_same_words(monkeypatch, name, value, sentence):
    monkeypatch.setenv(name, value)
    with pytest.raises(ImproperlyConfigured) as refused:
        environment.read()
    assert str(refused.value) == sentence


def test_a_wrong_file_of_tenants_is_told_in_the_same_words(tmp_path):
    file = tmp_path / "tenants.json"
    for content, sentence in [
        ('[{"slug": 7}]', "[0].slug: expected text; got a number"),
        ("[", "the whole: expected JSON; EOF while parsing a list at line 1 column 1"),
    ]:
        file.write_text(content)
        with pytest.raises(ValidationError) as refused:
            records.read(file, "harbor")
        assert refused.value.messages[0].endswith(sentence)
