"""Sentences for what pydantic refuses: the field, and what was expected there, in this project's words."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from fleetprompt.errors import kind

_WANTED = {
    "a list": "deque_type frozen_set_type iterable_type list_type set_type tuple_type",
    "a list or an object": "named_tuple_type",
    "an object": "arguments_type counter_type dataclass_exact_type dataclass_type dict_type "
    "frozen_dict_type mapping_type model_attributes_type model_type ordered_dict_type",
    "text": "bytes_type string_type string_unicode",
    "true or false": "bool_parsing bool_type",
    "a whole number": "int_from_float int_parsing int_type",
    "a whole number with fewer digits": "int_parsing_size",
    "a number": "complex_str_parsing complex_type decimal_parsing decimal_type float_parsing float_type "
    "fraction_parsing fraction_type",
    "a finite number": "finite_number",
    "a date, such as 2030-01-31": "date_from_datetime_inexact date_from_datetime_parsing date_parsing "
    "date_type",
    "a time, such as 2030-01-31T09:00:00Z": "datetime_from_date_parsing datetime_object_invalid "
    "datetime_parsing datetime_type",
    "a time of day, such as 09:00:00": "time_parsing time_type",
    "a duration, such as PT90M": "time_delta_parsing time_delta_type",
    "a date or time in the past": "date_past datetime_past",
    "a date or time in the future": "date_future datetime_future",
    "a time with an offset, such as +00:00": "timezone_aware",
    "a time without an offset": "timezone_naive",
    "a time with another offset: {tz_expected} seconds from UTC": "timezone_offset",
    "a UUID": "uuid_parsing uuid_type",
    "a UUID of version {expected_version}": "uuid_version",
    "a URL": "url_parsing url_syntax_violation url_type",
    "a URL that starts with {expected_schemes}": "url_scheme",
    "{expected}": "enum literal_error",
    "null": "none_required",
    "more than {gt}": "greater_than",
    "at least {ge}": "greater_than_equal",
    "less than {lt}": "less_than",
    "at most {le}": "less_than_equal",
    "a multiple of {multiple_of}": "multiple_of",
    "at most {max_digits} digits": "decimal_max_digits",
    "at most {decimal_places} decimal places": "decimal_max_places",
    "at most {whole_digits} digits before the decimal point": "decimal_whole_digits",
    "at least {min_length} characters": "bytes_too_short string_too_short",
    "at most {max_length} characters": "bytes_too_long string_too_long url_too_long",
    "at least {min_length} items": "too_short",
    "at most {max_length} items": "too_long",
    "text that matches {pattern}": "string_pattern_mismatch",
    "text of ASCII characters only": "string_not_ascii",
    "text in the encoding {encoding}": "bytes_invalid_encoding",
    "text as keys": "invalid_key",
    "{discriminator} to be one of {expected_tags}": "union_tag_invalid",
    "{discriminator}, which says of what kind it is": "union_tag_not_found",
    "JSON; {error}": "json_invalid",
    "JSON": "json_type",
    "fewer levels of nesting": "recursion_depth_exceeded recursion_loop",
    "a value; it is missing": "missing",
    "no such field": "extra_forbidden",
}
_TEMPLATES = {name: wanted for wanted, names in _WANTED.items() for name in names.split()}

_ONE = re.compile(r"( 1 .*\w)s\b")


def problems(
    error: ValidationError, given: Any = None, fields: Iterable[str] = ()
) -> list[tuple[str, str]]:
    """Return what is wrong as pairs: where, such as `tags[0].name`, and what was expected there.

    What was given is never quoted, only counted or called by its kind.

    Args:
        given: what was validated, as JSON has it. It tells fields from the names that pydantic gives to
            the members of a union; without it, those are named too.
        fields: the names that the whole may have.

    Returns:
        in pydantic's order, one for each place. Where is empty for the whole.
    """
    found: dict[str, list[str]] = {}
    for item in error.errors():
        where = _path(item["loc"], given, is_missing=item["type"] == "missing")
        if item["type"] == "extra_forbidden" and len(item["loc"]) == 1 and fields:
            sentence = f"expected only the fields {', '.join(fields)}"
        else:
            sentence = _sentence(item)
        sentences = found.setdefault(where, [])
        if sentence not in sentences:
            sentences.append(sentence)
    return [(where, _joined(sentences)) for where, sentences in found.items()]


def _sentence(item: Mapping[str, Any]) -> str:
    if "url" not in item:
        # A validator's own error, whatever it calls itself: pydantic documents the others.
        return str(item["msg"])
    context = item.get("ctx", {})
    if isinstance(context.get("error"), Exception):
        # A validator's own sentence.
        return str(context["error"])
    template = _TEMPLATES.get(item["type"])
    if template is None:
        return str(item["msg"]).replace("Input should be ", "expected ", 1)
    wanted = "expected " + template.format_map(context)
    if template.startswith("at "):
        wanted = _ONE.sub(r"\1", wanted)
    if item["loc"][-1:] == ("[key]",):
        wanted += " as its name"
    got = _got(item, context)
    return f"{wanted}; got {got}" if got else wanted


def _got(item: Mapping[str, Any], context: Mapping[str, Any]) -> str:
    if item["type"].endswith("_type"):
        return kind(item["input"])
    if item["type"] in ("string_too_short", "string_too_long") and isinstance(item["input"], str):
        return str(len(item["input"]))
    length = context.get("actual_length")
    return "" if length is None else str(length)


def _joined(sentences: list[str]) -> str:
    """Return one sentence for what each member of a union expected."""
    first, *others = (sentence.partition("; got ") for sentence in sentences)
    if not others or not all(wanted.startswith("expected ") for wanted, _, _ in (first, *others)):
        return "; ".join(sentences)
    rest = [wanted.removeprefix("expected ") for wanted, _, _ in others]
    return " or ".join([first[0], *rest]) + first[1] + first[2]


def _path(place: Sequence[int | str], given: Any, *, is_missing: bool) -> str:
    path, is_known = "", given is not None
    for number, step in enumerate(place, start=1):
        if _has(given, step):
            given = given[step]
        elif is_known and not (is_missing and number == len(place)):
            continue
        path += f"[{step}]" if isinstance(step, int) else f".{step}"
    return path.removeprefix(".")


def _has(given: Any, step: int | str) -> bool:
    if isinstance(given, list):
        return isinstance(step, int) and step < len(given)
    return isinstance(given, Mapping) and step in given
