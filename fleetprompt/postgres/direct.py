"""Statements that name their schema, such as those for the public one from inside a tenant."""

from typing import Any

from django.db import connection as _django_connection
from psycopg import Cursor

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
