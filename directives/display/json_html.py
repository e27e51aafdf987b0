"""Any JSON value as HTML: objects as names with values, lists as items, what is deep as JSON text."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from fleetprompt.templatetags.moments import moment

MAX_DEPTH = 6
"""How many levels get markup of their own; a page has no room to indent more."""

_QUOTED = {"", "yes", "no", "–", "{}", "[]"}
"""Texts that look like another value."""


def json_html(value: Any) -> SafeString:
    """Return a JSON value as HTML, however deep it is; a datetime in it is shown as people read times."""
    written: list[str] = []
    # Not by recursion: the database may hold more levels than Python calls.
    pending: list[str | tuple[Any, int]] = [(value, 0)]
    while pending:
        part = pending.pop()
        if isinstance(part, str):
            written.append(part)
        elif part[0] and isinstance(part[0], Mapping | list | tuple):
            pending += reversed(list(_parts(*part)))
        else:
            written.append(_leaf(*part))
    return mark_safe("".join(written))  # noqa: S308 -- every text in it was escaped


def _parts(value: Any, depth: int) -> Iterable[str | tuple[Any, int]]:
    """Yield the HTML of an object or a list; in place of each value within, the value and its depth."""
    is_object = isinstance(value, Mapping)
    items = value.items() if is_object else ((None, item) for item in value)
    if depth >= MAX_DEPTH:
        yield "{" if is_object else "["
        for number, (key, item) in enumerate(items):
            yield (", " if number else "") + (f"{_quoted(key)}: " if is_object else "")
            yield item, depth + 1
        yield "}" if is_object else "]"
        return
    yield '<dl class="fp-facts">' if is_object else '<ul class="fp-bullets">'
    for key, item in items:
        yield f"<dt>{_text(key)}</dt><dd>" if is_object else "<li>"
        yield item, depth + 1
        yield "</dd>" if is_object else "</li>"
    yield "</dl>" if is_object else "</ul>"


def _leaf(value: Any, depth: int) -> str:
    if isinstance(value, datetime):
        return moment(value)
    if depth > MAX_DEPTH:
        return _quoted(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value is None else _quoted(value)


def _text(text: Any) -> str:
    return _quoted(text) if text in _QUOTED else escape(text)


def _quoted(value: Any) -> str:
    return escape(json.dumps(value, ensure_ascii=False, default=str))
