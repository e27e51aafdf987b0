"""Canonical form of JSON: RFC 8785, for every value that PostgreSQL's jsonb can hold."""

import json
import math
import re
from collections.abc import Sequence
from decimal import Decimal
from itertools import accumulate
from typing import Any

import rfc8785

MAX_DEPTH = 100
"""Levels of nesting; a deeper value becomes the text that PostgreSQL prints."""

_MAX_INTEGER = 2**53 - 1
# Without these a text has no number but small integers, no key that sorts differently in UTF-16, and no
# key that looks like one of the two escapes below.
_EXOTIC = re.compile(r'[0-9][.eE]|[0-9]{16}|[\U00010000-\U0010ffff]|\$(?:number|json)"')
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")
_ESCAPED = re.compile(r"\$+(?:number|json)")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


def dumps(value: Any, *, is_plain: bool = False) -> bytes:
    """Return `value` as RFC 8785 writes it.

    Args:
        value: dictionaries, lists, texts, booleans, None, floats, and integers up to 2**53 - 1 either way.
        is_plain: it has no floats, and its keys have no characters beyond U+FFFF. Then Python's own
            encoder gives the same bytes, many times faster.
    """
    if is_plain:
        text = json.dumps(
            value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), check_circular=False
        )
        return text.encode()
    return rfc8785.dumps(value)


def parse(text: str) -> tuple[Any, bool]:
    """Read a jsonb value as PostgreSQL prints it; two values that differ never become one.

    A number that no double is written as, such as one of 20 digits, becomes `{"$number": "<digits>"}`. A
    value that nests deeper than 100 levels becomes `{"$json": "<text>"}`. A stored key that looks like one
    of these gets another `$`.

    Returns:
        the value, and whether it is plain (see `dumps`).
    """
    if _depth(text) > MAX_DEPTH:
        return {"$json": text}, True
    if not _EXOTIC.search(text):
        return json.loads(text), True
    floats: list[float] = []
    value = json.loads(
        text,
        parse_int=lambda digits: _number(digits, floats),
        parse_float=lambda digits: _number(digits, floats),
        object_pairs_hook=_escaped,
    )
    return value, not floats and not _ASTRAL.search(text)


def reload(text: str | bytes) -> Any:
    """Return the value of a canonical form, so that `dumps` gives the same bytes again.

    Raises:
        ValueError: it is no JSON, or an object has a key twice, which parsers read differently.
    """
    return json.loads(text, parse_int=_integer, object_pairs_hook=_once)


def _number(digits: str, floats: list[float]) -> Any:
    if len(digits) <= 16 and digits.lstrip("-").isdigit() and abs(int(digits)) <= _MAX_INTEGER:
        return int(digits)
    nearest = float(digits)
    if math.isinf(nearest) or Decimal(digits) != Decimal(repr(nearest)):
        return {"$number": digits}
    floats.append(nearest)
    return nearest


def _integer(digits: str) -> int | float:
    if len(digits) <= 16 and abs(int(digits)) <= _MAX_INTEGER:
        return int(digits)
    return float(digits)


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has a key twice")
    return found


def _escaped(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    return {f"${key}" if _ESCAPED.fullmatch(key) else key: value for key, value in pairs}


def _depth(text: str) -> int:
    opened = text.count("{") + text.count("[")
    if opened <= MAX_DEPTH:
        return opened
    signs = re.findall(r"[\[\]{}]", _STRING.sub("", text))
    return max(accumulate(1 if sign in "[{" else -1 for sign in signs), default=0)
