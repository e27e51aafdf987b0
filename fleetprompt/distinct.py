"""Which values a column of a big table has, without reading the table."""

from typing import Any

from django.db import connection
from django.db.models import Model


def distinct_values(
    model: type[Model], *fields: str, label: str = "", newest: str = "created_at", limit: int = 100
) -> list[tuple[Any, ...]]:
    """Return the distinct values of `fields`, in their order: one look into an index for each.

    Args:
        fields: columns with which an index of the model begins.
        label: another column; the newest row's of each value is added.
        newest: the column, next in that index, that says which row is the newest.
        limit: how many values to return at most.
    """
    quote = connection.ops.quote_name
    table = quote(model._meta.db_table)
    keys = ", ".join(map(quote, fields))
    columns = f"{keys}, {quote(label)}" if label else keys
    order = f"{keys}, {quote(newest)} DESC, id DESC" if label else keys
    found = ", ".join(f"found.{quote(field)}" for field in fields)
    # PostgreSQL has no "loose index scan"; this is one, written out.
    query = f"""
        WITH RECURSIVE found AS (
            (SELECT {columns}, 1 AS number FROM {table} ORDER BY {order} LIMIT 1)
            UNION ALL
            SELECT following.*, found.number + 1 FROM found CROSS JOIN LATERAL (
                SELECT {columns} FROM {table} WHERE ({keys}) > ({found}) ORDER BY {order} LIMIT 1
            ) AS following WHERE found.number < %s
        )
        SELECT {columns} FROM found ORDER BY number
    """  # noqa: S608 - names of the model, quoted
    with connection.cursor() as cursor:
        cursor.execute(query, [limit])
        return list(cursor.fetchall())
