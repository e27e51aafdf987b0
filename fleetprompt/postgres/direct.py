"""Statements that name their schema themselves, such as those for the public one from inside a tenant."""

from typing import Any

from django.db import connection as _django_connection
from psycopg import Cursor

connection: Any = _django_connection


def execute(statement: str, parameters: Any = None, *, prepare: bool = False) -> Any:
    """Execute a statement that needs no schema to be active; return psycopg's cursor.

    django-tenants would set `search_path` before it, and Django log it.

    Args:
        prepare: have PostgreSQL plan it once for the connection, and again when statistics change.

    Raises:
        DatabaseError: the database does not answer, or refuses.
    """
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    with connection.wrap_database_errors:
        if not prepare:
            return connection.connection.execute(statement, parameters)
        return Cursor(connection.connection).execute(statement, parameters)
