"""Exports of signals: CSV for spreadsheets, JSON Lines for programs, streamed."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from fleetprompt.postgres.queries import after
from fleetprompt.tenants.context import in_tenant
from signals.audit.sealing.heads import timestamp
from signals.models import Signal
from signals.personal import disclose

CHUNK_SIGNALS = 1_000
"""Signals in memory at a time."""
FIELDS = tuple(field.name for field in Signal._meta.concrete_fields if field.name != "personal")
"""The fields of an exported signal; the payload has the personal values, never their salts."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r")

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file: its name for people, its media type, and the text before the first signal.

    `lines` returns some signals as text.
    """

    label: str
    content_type: str
    head: str
    lines: Callable[[Sequence[Row]], str]


def export(queryset: QuerySet[Signal], kind: Format, *, tenant: str) -> Iterator[str]:
    """Yield the signals of a query in any order as text, oldest first, a part at a time.

    Each part is a query of its own, inside the tenant: while this waits for its reader, or after the reader
    went away, no tenant is entered and no transaction is open. It includes signals that are recorded
    meanwhile. Signals never change but by erasing, so the parts are consistent.

    Args:
        tenant: the slug of the tenant.

    Raises:
        TenantError: while iterating, when another tenant is active or this one is gone.
    """
    yield kind.head
    rows = queryset.order_by("recorded_at", "id").values(*FIELDS, "personal")
    part = rows
    while True:
        with in_tenant(tenant):
            found = [
                {**row, "payload": disclose(row["payload"], row["personal"])}
                for row in part[:CHUNK_SIGNALS]
            ]
        yield kind.lines(found)
        if len(found) < CHUNK_SIGNALS:
            return
        part = rows.filter(after("recorded_at", found[-1]["recorded_at"], found[-1]["id"]))


def _csv_lines(rows: Sequence[Row]) -> str:
    """Return rows as RFC 4180 says, payload and metadata as JSON.

    A text that a spreadsheet would read as a formula gets an apostrophe before it; JSON Lines keeps every
    text unchanged.
    """
    file = io.StringIO()
    csv.writer(file).writerows([_cell(row[name]) for name in FIELDS] for row in rows)
    return file.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(_plain(value))
    return f"'{text}" if text.startswith(_FORMULA) else text


def _json_lines(rows: Sequence[Row]) -> str:
    lines = [{name: _plain(row[name]) for name in FIELDS} for row in rows]
    return "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return timestamp(value)
    return value if value is None or isinstance(value, dict | str) else str(value)


FORMATS = {
    "csv": Format("CSV", "text/csv; charset=utf-8", ",".join(FIELDS) + "\r\n", _csv_lines),
    "jsonl": Format("JSON Lines", "application/x-ndjson; charset=utf-8", "", _json_lines),
}
"""The kinds of file, by the ending of their names."""
