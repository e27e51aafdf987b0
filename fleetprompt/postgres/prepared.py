"""Statements that PostgreSQL parses and plans once for each connection: for the few that many wait for."""

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
    """Give Django's cursor in the active schema; what it executes is prepared, with its values beside it.

    A plan is kept as long as statistics and schema stay, and made anew in another tenant. So it is for
    statements whose plan does not depend on how much a table holds, such as inserts.
    """
    with connection.cursor() as cursor, _Cursor(cursor.cursor.connection) as cursor.cursor:
        yield cursor
