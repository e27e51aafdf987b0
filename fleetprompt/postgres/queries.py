"""SQL that Django's ORM has no words for: walking an index by its values, and from one place in it."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import BooleanField, DateTimeField, F, Func, Model, UUIDField, Value
from django.db.models.lookups import GreaterThan

CHOICES = 100
"""How many distinct values are looked up at most."""


def distinct(
    model: type[Model], *fields: str, also: Sequence[str] = (), newest: Sequence[str] = ()
) -> list[tuple[Any, ...]]:
    """Return up to `CHOICES` distinct values of some fields, in order, reading one index entry for each.

    Args:
        fields: the first fields of an index of the model.
        also: fields to return besides, as some row with the same values has them.
        newest: the fields that follow in that index, latest first: then `also` is of the newest row.
    """
    quote = connection.ops.quote_name
    table = quote(model._meta.db_table)
    known: Any = model._meta
    columns = [quote(known.get_field(field).column) for field in (*fields, *also)]
    names, keys = ", ".join(columns), ", ".join(columns[: len(fields)])
    order = ", ".join([keys, *(f"{quote(known.get_field(field).column)} DESC" for field in newest)])
    following = ", ".join(f"next.{column}" for column in columns)
    last = ", ".join(f"found.{column}" for column in columns[: len(fields)])
    # A plain SELECT DISTINCT would read the whole index; PostgreSQL has no other word for skipping.
    sql = f"""
        WITH RECURSIVE found AS (
            (SELECT {names}, 1 AS place FROM {table} ORDER BY {order} LIMIT 1)
            UNION ALL
            SELECT {following}, found.place + 1 FROM found CROSS JOIN LATERAL (
                SELECT {names} FROM {table} WHERE ({keys}) > ({last}) ORDER BY {order} LIMIT 1
            ) AS next WHERE found.place < %s
        ) SELECT {names} FROM found ORDER BY place
    """  # noqa: S608 -- names of the model's own table and columns, quoted
    with connection.cursor() as cursor:
        cursor.execute(sql, [CHOICES])
        return list(cursor.fetchall())


def array(texts: Iterable[str]) -> str:
    """Return an array as PostgreSQL reads it, for `= ANY(%s::uuid[])` and the like.

    For thousands of values that takes a tenth of what the driver needs for a list, and the ORM for `IN`.
    """
    escaped = [text.replace("\\", "\\\\").replace('"', '\\"') for text in texts]
    return '{"' + '","'.join(escaped) + '"}' if escaped else "{}"


class ClockTimestamp(Func):
    """The moment at which the database evaluates it: no start of a transaction or statement."""

    function = "clock_timestamp"
    output_field = DateTimeField()


@contextmanager
def by_index() -> Iterator[None]:
    """Keep the queries of a block, in one transaction, from reading a table from end to end.

    Two filters that each fit many rows make the planner think of it, for a page of fifty.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan TO off")
        yield


def after(field: str, value: datetime, pk: UUID) -> GreaterThan:
    """Return the condition that a row comes after a place in the order of a time and the primary key.

    The database compares both columns as one, so that an index on them starts at the place.
    """
    place = _row(Value(value), Value(pk, UUIDField()))
    return GreaterThan(_row(F(field), F("pk")), place)


def _row(*values: Any) -> Func:
    return Func(*values, function="ROW", output_field=BooleanField())
