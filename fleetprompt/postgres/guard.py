"""Whether the database itself keeps the connected role from changing what append-only tables say."""

from typing import Any

from django.db import connection

from fleetprompt.postgres.grants import append_only_tables

_ROLE = """
SELECT current_user, rolsuper, rolcreaterole,
       pg_has_role('pg_execute_server_program', 'MEMBER') OR pg_has_role('pg_write_server_files', 'MEMBER'),
       has_database_privilege(current_database(), 'CREATE'),
       has_database_privilege(current_database(), 'TEMPORARY')
  FROM pg_roles WHERE rolname = current_user
"""
_TABLES = """
SELECT count(*) FILTER (WHERE pg_has_role(c.relowner, 'MEMBER')),
       count(*) FILTER (
           WHERE has_table_privilege(c.oid, 'UPDATE, DELETE, TRUNCATE, TRIGGER, REFERENCES')
           OR has_any_column_privilege(c.oid, 'UPDATE, REFERENCES')),
       count(*) FILTER (WHERE has_schema_privilege(c.relnamespace, 'CREATE')),
       min(c.relnamespace::regnamespace::text || '.' || c.relname)
  FROM pg_class c
 WHERE c.relname = ANY(%s) AND c.relkind IN ('r', 'p')
"""


def guarded() -> bool:
    """Return whether the connected role can neither change append-only tables nor what guards them."""
    return not weaknesses()


def weaknesses() -> list[str]:
    """Return in sentences what the connected role could do to the append-only tables of all schemas.

    Empty is as it should be. It takes two statements, whatever the number of tenants.
    """
    with connection.cursor() as cursor:
        cursor.execute(_ROLE)
        role, *powers = cursor.fetchone()
        cursor.execute(_TABLES, [append_only_tables()])
        *counts, example = cursor.fetchone()
    return [f"the database role {role} {text}" for text in _texts(powers, counts, example)]


def _texts(powers: list[bool], counts: list[int], example: str | None) -> list[str]:
    is_superuser, makes_roles, reaches_files, makes_schemas, makes_temporary = powers
    if is_superuser:
        return ["is a superuser"]
    owned, writable, open_schemas = counts
    possible: list[tuple[Any, str]] = [
        (makes_roles, "may make roles"),
        (reaches_files, "may write files or start programs on the server"),
        (makes_schemas, "may create schemas"),
        (makes_temporary, "may create temporary tables, which shadow real ones"),
        (owned, f"owns, or may become the owner of, {owned} append-only tables such as {example}"),
        (writable, f"may change or hang triggers on {writable} append-only tables such as {example}"),
        (open_schemas, f"may create in the schemas of {open_schemas} append-only tables such as {example}"),
    ]
    return [text for holds, text in possible if holds]
