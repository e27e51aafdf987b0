"""Prepared statements, which PostgreSQL parses and plans once for each connection."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from django.db import connection
from django.db.backends.postgresql.psycopg_any import mogrify
from psycopg import Cursor

from fleetprompt.postgres.compat import note_query


class _Cursor(Cursor[Any]):
    def execute(self, query: str, params: Mapping[str, Any] | Sequence[Any], **options: Any) -> Any:  # type: ignore[override]
        result = super().execute(query, params, **options)
        if connection.queries_logged:
            note_query(self, mogrify(query, params, connection).encode())
        return result


@contextmanager
def prepared_cursor() -> Iterator[Any]:
    """Give a cursor of Django in the active schema that prepares its statements.

    A plan is kept while statistics and schema stay the same. This is for statements whose plan does not
    depend on the size of a table, such as inserts.
    """
    with connection.cursor() as cursor, _Cursor(cursor.cursor.connection) as cursor.cursor:
        yield cursor
