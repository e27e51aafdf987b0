"""Signals as files: CSV for spreadsheets, JSON Lines for programs, written while they are read."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db.models import QuerySet

from fleetprompt.postgres.queries import after
from fleetprompt.tenants.context import in_tenant
from signals.models import Signal

CHUNK = 1_000
"""How many signals are in memory at a time."""
FIELDS = tuple(field.name for field in Signal._meta.concrete_fields)

_FORMULA = ("=", "+", "-", "@", "\t", "\r")

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file.

    Args:
        label: what people call it.
        content_type: its media type.
        head: what stands before the first signal.
        lines: writes some signals.
    """

    label: str
    content_type: str
    head: str
    lines: Callable[[Sequence[Row]], str]


def export(queryset: QuerySet[Signal], kind: Format, *, tenant: str) -> Iterator[str]:
    """Write the signals of a query, oldest first, a part at a time.

    The parts are queries of their own, each inside the tenant: whenever this waits for its reader, or
    the reader went away, no tenant is entered and no transaction is open. A signal that is recorded
    meanwhile is written too. A signal's row never changes, so the parts belong together.

    Args:
        queryset: which signals; its order does not matter.
        kind: one of `FORMATS`.
        tenant: the slug of the tenant whose signals they are.

    Raises:
        TenantError: while writing, when another tenant is active or this one is gone.
    """
    yield kind.head
    rows = queryset.order_by("recorded_at", "id").values(*FIELDS)
    part = rows
    while True:
        with in_tenant(tenant):
            found = list(part[:CHUNK])
        yield kind.lines(found)
        if len(found) < CHUNK:
            return
        part = rows.filter(after("recorded_at", found[-1]["recorded_at"], found[-1]["id"]))


def _csv_lines(rows: Sequence[Row]) -> str:
    """Write rows as RFC 4180 says, payload and metadata as JSON.

    A text that a spreadsheet would take for a formula gets an apostrophe before it; JSON Lines has
    every text as it is.
    """
    file = io.StringIO()
    csv.writer(file).writerows([_cell(row[name]) for name in FIELDS] for row in rows)
    return file.getvalue()


def _cell(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(_plain(value))
    return f"'{text}" if text.startswith(_FORMULA) else text


def _json_lines(rows: Sequence[Row]) -> str:
    lines = [{name: _plain(row[name]) for name in FIELDS} for row in rows]
    return "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return value if isinstance(value, dict | str) else str(value)


FORMATS = {
    "csv": Format("CSV", "text/csv; charset=utf-8", ",".join(FIELDS) + "\r\n", _csv_lines),
    "jsonl": Format("JSON Lines", "application/x-ndjson; charset=utf-8", "", _json_lines),
}
"""The kinds of file, by the ending of their names."""
