"""Inserts thousands of records at once: per row, `bulk_create` costs several times what PostgreSQL does."""

import json
from collections.abc import Iterable, Iterator, Sequence
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


def _insert(records: Sequence[ModelT], columns: Iterable[str]) -> Iterator[ModelT]:
    """Send the records as one JSON text, which PostgreSQL reads as rows of the table."""
    table, names = records[0]._meta.db_table, ", ".join(columns)
    rows = [{name: values[name] for name in columns} for values in map(vars, records)]
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({names})"  # noqa: S608 the names are the model's own
            f" SELECT {names} FROM json_populate_recordset(NULL::{table}, %s)"
            " ON CONFLICT DO NOTHING RETURNING id",
            [json.dumps(rows, ensure_ascii=False, allow_nan=False, default=_plain)],
        )
        stored = {pk for (pk,) in cursor.fetchall()}
    for record in records:
        if record.pk in stored:
            record._state.adding, record._state.db = False, connection.alias
            yield record


def _plain(value: Any) -> str:
    """Return what JSON has no form for as PostgreSQL reads it."""
    if isinstance(value, UUID | datetime):
        return str(value)
    raise TypeError(f"no form in JSON: {type(value).__name__}")
