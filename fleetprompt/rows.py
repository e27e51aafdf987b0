"""Inserts thousands of records at once: per row, `bulk_create` costs several times what PostgreSQL does."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from django.db import connection
from django.db.models import Model
from django.db.models.expressions import DatabaseDefault

BATCH = 5000
"""Records per statement; with payloads of 64 KiB each that stays below what PostgreSQL takes at once."""

ModelT = TypeVar("ModelT", bound=Model)


def insert(records: Sequence[ModelT]) -> list[ModelT]:
    """Insert new records of one model in their order, leaving out those whose unique values are taken.

    Columns hold texts, numbers, ids, times and JSON. Those with a default in the database get the
    database's time, one for all, unless they have a value. A concurrent insert of a unique value makes
    this one wait and then lose.

    Returns:
        those that were stored.
    """
    if not records:
        return []
    fields: Any = records[0]._meta.concrete_fields
    dated = [field.attname for field in fields if field.has_db_default()]
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        [now] = cursor.fetchone()
    for record in records:
        values = vars(record)
        for name in dated:
            if values[name] is None or isinstance(values[name], DatabaseDefault):
                values[name] = now
    return [
        stored
        for start in range(0, len(records), BATCH)
        for stored in _insert(records[start : start + BATCH], [field.column for field in fields])
    ]


def _insert(records: Sequence[ModelT], columns: Sequence[str]) -> Iterator[ModelT]:
    """Send what the records have in common, and the rest of each, as JSON that PostgreSQL reads as rows."""
    table = records[0]._meta.db_table
    values = [vars(record) for record in records]
    own = [name for name in columns if any(one[name] != values[0][name] for one in values)] or columns[:1]
    common = {name: values[0][name] for name in columns if name not in own}
    rows = [{name: one[name] for name in own} for one in values]
    chosen = ", ".join(f"{'own' if name in own else 'common'}.{name}" for name in columns)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) SELECT {chosen}"  # noqa: S608 the model's own names
            f" FROM json_populate_record(NULL::{table}, %s) AS common,"
            f" json_populate_recordset(NULL::{table}, %s) WITH ORDINALITY AS own ORDER BY own.ordinality"
            " ON CONFLICT DO NOTHING RETURNING id",
            [_json(common), _json(rows)],
        )
        stored = {pk for (pk,) in cursor.fetchall()}
    for record in records:
        if record.pk in stored:
            record._state.adding, record._state.db = False, connection.alias
            yield record


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, default=_plain)


def _plain(value: Any) -> str:
    """Return what JSON has no form for as PostgreSQL reads it."""
    if isinstance(value, UUID | datetime):
        return str(value)
    raise TypeError(f"no form in JSON: {type(value).__name__}")
