"""Canonical form: RFC 8785, the same from both encoders, for every value of PostgreSQL's jsonb."""

import json

import pytest
import rfc8785
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st

from signals.audit.format import canonical

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
SAFE = st.integers(-(2**53) + 1, 2**53 - 1)
PLAIN_KEYS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0", max_codepoint=0xFFFF)
)


def values(keys, *numbers):
    return st.recursive(
        st.one_of(st.none(), st.booleans(), TEXT, *numbers),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
        max_leaves=12,
    )


@given(values(PLAIN_KEYS, SAFE))
def test_the_fast_way_writes_what_the_reference_writes(value):
    assert canonical.dumps(value, is_plain=True) == rfc8785.dumps(value)


@given(values(TEXT, SAFE, st.floats(allow_nan=False, allow_infinity=False)))
def test_what_is_parsed_is_written_as_the_reference_writes_the_value(value):
    # Keys that look like the two escapes are another test's business.
    text = json.dumps(value, ensure_ascii=False).replace('$number"', 'number"').replace('$json"', 'json"')
    parsed, is_plain = canonical.parse(text)
    assert canonical.dumps(parsed, is_plain=is_plain) == rfc8785.dumps(json.loads(text, parse_int=_double))


def _double(digits: str) -> int | float:
    return int(digits) if abs(int(digits)) < 2**53 else float(digits)


@given(values(TEXT, SAFE, st.floats(allow_nan=False, allow_infinity=False)))
def test_the_form_survives_reading_and_writing(value):
    parsed, is_plain = canonical.parse(json.dumps(value, ensure_ascii=False))
    form = canonical.dumps(parsed, is_plain=is_plain)
    assert canonical.dumps(canonical.reload(form)) == form


NUMBERS = [
    ("0", "0"),
    ("-1", "-1"),
    ("9007199254740991", "9007199254740991"),
    ("9007199254740992", "9007199254740992"),
    ("9007199254740993", '{"$number":"9007199254740993"}'),
    ("-9007199254740993", '{"$number":"-9007199254740993"}'),
    ("12345678901234567890", '{"$number":"12345678901234567890"}'),
    ("100000000000000000000", "100000000000000000000"),
    ("1000000000000000000000", "1e+21"),
    ("1.5", "1.5"),
    ("1.50", "1.5"),
    ("0.1000000000000000055511151231257827", '{"$number":"0.1000000000000000055511151231257827"}'),
    ("0.0000001", "1e-7"),
    ("5.0", "5"),
    ("1" + "0" * 400, '{"$number":"1' + "0" * 400 + '"}'),
    ("1" * 6000, '{"$number":"' + "1" * 6000 + '"}'),
]


@pytest.mark.parametrize(("digits", "form"), NUMBERS, ids=lambda text: text[:24])
def test_numbers(digits, form):
    value, is_plain = canonical.parse(f'{{"a": {digits}}}')
    assert canonical.dumps(value, is_plain=is_plain).decode() == f'{{"a":{form}}}'


@given(
    st.decimals(allow_nan=False, allow_infinity=False), st.decimals(allow_nan=False, allow_infinity=False)
)
def test_numbers_that_differ_have_forms_that_differ(one, other):
    forms = [canonical.dumps(canonical.parse(f"[{number:f}]")[0]) for number in (one, other)]
    assert (forms[0] == forms[1]) == (one == other)


ALIKE = [
    ("12345678901234567890", '{"$number": "12345678901234567890"}'),
    ('{"$number": "1"}', '{"$$number": "1"}'),
    ('{"$json": "[]"}', '{"$$json": "[]"}'),
    ("[" * 101 + "]" * 101, json.dumps({"$json": "[" * 101 + "]" * 101})),
    ("1", '"1"'),
    ("1", "true"),
    ("null", '""'),
    ('{"a": {"b": 1}}', '{"a": "{\\"b\\":1}"}'),
]


@pytest.mark.parametrize(("one", "other"), ALIKE, ids=lambda text: text[:24])
def test_values_that_look_alike_have_forms_that_differ(one, other):
    forms = [canonical.dumps(canonical.parse(text)[0]) for text in (one, other)]
    assert forms[0] != forms[1]


def test_deep_values_do_not_depend_on_how_deep_the_program_is():
    text = '{"a": "[[[", "b": ' + "[" * 5000 + "]" * 5000 + "}"
    assert canonical.parse(text) == ({"$json": text}, True)
    shallow = '{"a": ' + "[" * 99 + "]" * 99 + "}"
    assert canonical.dumps(canonical.parse(shallow)[0]).decode() == shallow.replace(" ", "")
    many = json.dumps([{"a": "]]"}] * 200)
    assert canonical.parse(many)[0] == json.loads(many)


@settings(max_examples=40)
@given(
    st.lists(values(TEXT, SAFE, st.floats(allow_nan=False, allow_infinity=False)), min_size=1, max_size=20)
)
def test_what_the_database_gives_back_has_the_form_of_what_went_in(database_once, items):
    with connection.cursor() as cursor:
        cursor.execute("SELECT unnest(%s::jsonb[])::text", [[json.dumps(item) for item in items]])
        stored = [text for (text,) in cursor.fetchall()]
    for item, text in zip(items, stored, strict=True):
        assert canonical.dumps(canonical.parse(text)[0]) == canonical.dumps(
            canonical.parse(json.dumps(item))[0]
        )


@pytest.fixture(scope="module")
def database_once(django_db_setup, django_db_blocker):
    with django_db_blocker.unblock():
        yield
        connection.close()
