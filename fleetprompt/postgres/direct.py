"""Statements past the cursors of Django and django-tenants: without a schema of their own, or prepared."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from django.db import connection as _django_connection
from django.db.backends.postgresql.psycopg_any import mogrify
from psycopg import Cursor, _queries

from fleetprompt import versions

WRITTEN_FOR = {"psycopg": ("3.3",), "django-tenants": ("4.0",)}
"""The versions whose private parts this module and `fleetprompt.postgres.base` use."""

versions.guard(__name__, WRITTEN_FOR)

# psycopg looks for the placeholders of a longer statement each time: in the INSERT of requests, which has
# more than its 4,096 bytes, for 80 µs of the 450 that a request takes in Python.
_queries.MAX_CACHED_STATEMENT_LENGTH = 16_384

connection: Any = _django_connection
"""Django's connection of this thread; the wrappers' further attributes have no types."""


def execute(statement: str, parameters: Any = None, *, prepare: bool = False) -> Any:
    """Execute a statement that does not depend on the active schema; return psycopg's cursor.

    It bypasses django-tenants, which would set `search_path`, and Django's log.

    Args:
        prepare: whether PostgreSQL plans it once for the connection, and again when statistics change.

    Raises:
        DatabaseError: the database does not answer, or refuses.
    """
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    with connection.wrap_database_errors:
        session = connection.connection
        return (Cursor(session) if prepare else session).execute(statement, parameters)


class _Cursor(Cursor[Any]):
    def execute(self, query: str, params: Mapping[str, Any] | Sequence[Any], **options: Any) -> Any:  # type: ignore[override]
        result = super().execute(query, params, **options)
        if connection.queries_logged:
            # Django logs it; psycopg keeps none of a prepared statement.
            text = mogrify(query, params, connection)
            self._query: Any = SimpleNamespace(query=text.encode())
        return result


@contextmanager
def prepared_cursor() -> Iterator[Any]:
    """Give a cursor of Django in the active schema that prepares its statements.

    A plan is kept while statistics and schema stay the same. This is for statements whose plan does not
    depend on the size of a table, such as inserts.
    """
    with connection.cursor() as cursor, _Cursor(cursor.cursor.connection) as cursor.cursor:
        yield cursor
