"""Queries that Django's ORM cannot say, and helpers for SQL."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import BooleanField, DateTimeField, F, Func, Model, UUIDField, Value
from django.db.models.lookups import GreaterThan

from fleetprompt.postgres.sql import DISTINCT_BY_INDEX, NO_SEQUENTIAL_SCANS

MAX_DISTINCT = 100
"""The most distinct values that are looked up."""

Statement = tuple[str, Sequence[Any]]
"""SQL, and the values for its placeholders."""


def execute(statement: str, *values: Any, **named: Any) -> int:
    """Execute one statement in the active schema, with values by place or by name; return how many rows."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values or named or None)
        return int(cursor.rowcount)


def fetch_all(statement: str, *values: Any, **named: Any) -> list[tuple[Any, ...]]:
    """Return the rows of one statement in the active schema, with values by place or by name."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values or named or None)
        return list(cursor.fetchall())


def join_statements(*statements: Statement) -> Statement:
    """Return statements as one message for Django's cursor, whose `nextset` goes to the next result.

    A round trip costs more than a small statement. Outside a transaction the message is a transaction:
    all of it is committed or nothing, even if the client has died. Each statement sees what was committed
    when it began, as it would alone; but `statement_timestamp()`, Django's `Now`, is the time at which
    the message arrived.
    """
    return "; ".join(sql for sql, _ in statements), [value for _, values in statements for value in values]


def quoted(name: str) -> str:
    """Return an identifier in quotes for SQL."""
    return str(connection.ops.quote_name(name))


def distinct(
    model: type[Model], *fields: str, also: Sequence[str] = (), newest: Sequence[str] = ()
) -> list[tuple[Any, ...]]:
    """Return up to `MAX_DISTINCT` distinct values of some fields, in order, by one index entry for each.

    Args:
        fields: the first fields of an index of the model.
        also: further fields to return, from some row with the same values.
        newest: the fields that follow in that index, latest first: then `also` is from the newest row.
    """
    known: Any = model._meta
    columns = [quoted(known.get_field(field).column) for field in (*fields, *also)]
    names, keys = ", ".join(columns), ", ".join(columns[: len(fields)])
    order = ", ".join([keys, *(f"{quoted(known.get_field(field).column)} DESC" for field in newest)])
    following = ", ".join(f"next.{column}" for column in columns)
    last = ", ".join(f"found.{column}" for column in columns[: len(fields)])
    statement = DISTINCT_BY_INDEX.format(
        table=quoted(known.db_table), names=names, keys=keys, order=order, following=following, last=last
    )
    return fetch_all(statement, MAX_DISTINCT)


def array(texts: Iterable[str]) -> str:
    """Return an array as PostgreSQL reads it, for `= ANY(%s::uuid[])` and the like.

    For thousands of values this takes a tenth of the time of the driver's lists and of the ORM's `IN`.
    """
    escaped = [text.replace("\\", "\\\\").replace('"', '\\"') for text in texts]
    return '{"' + '","'.join(escaped) + '"}' if escaped else "{}"


class ClockTimestamp(Func):
    """The time at which the database evaluates it, not the start of a transaction or statement."""

    function = "clock_timestamp"
    output_field = DateTimeField()


@contextmanager
def by_index() -> Iterator[None]:
    """Keep the queries of a block, in one transaction, from sequential scans.

    The planner chooses one for a page of fifty rows when two filters each match many rows.
    """
    with transaction.atomic():
        execute(NO_SEQUENTIAL_SCANS)
        yield


def after(field: str, value: datetime, pk: UUID) -> GreaterThan:
    """Return the condition that a row follows a position in the order of a time and the primary key.

    It is one row comparison, so that an index on both columns starts at the position.
    """
    position = _row(Value(value), Value(pk, UUIDField()))
    return GreaterThan(_row(F(field), F("pk")), position)


def _row(*values: Any) -> Func:
    return Func(*values, function="ROW", output_field=BooleanField())
