"""Whether the database itself keeps the connected role from changing what append-only tables say."""

from typing import NamedTuple

from django.db import connection

from fleetprompt.postgres.grants import append_only_tables

_ROLE = """
SELECT current_user::text, rolsuper, rolcreaterole,
       pg_has_role('pg_execute_server_program', 'MEMBER') OR pg_has_role('pg_write_server_files', 'MEMBER'),
       has_database_privilege(current_database(), 'CREATE'),
       has_database_privilege(current_database(), 'TEMPORARY')
  FROM pg_roles WHERE rolname = current_user
"""
_TABLES = """
SELECT array_agg(DISTINCT nspname::text) FILTER (WHERE pg_has_role(relowner, 'MEMBER')),
       array_agg(DISTINCT nspname::text) FILTER (
           WHERE has_table_privilege(pg_class.oid, 'UPDATE, DELETE, TRUNCATE, TRIGGER, REFERENCES')
           OR has_any_column_privilege(pg_class.oid, 'UPDATE, REFERENCES')),
       array_agg(DISTINCT nspname::text) FILTER (WHERE has_schema_privilege(relnamespace, 'CREATE'))
  FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
 WHERE relname = ANY(%s) AND relkind IN ('r', 'p')
"""


class Weakness(NamedTuple):
    """What the connected role could do: a sentence, and in which schemas; none means anywhere."""

    text: str
    schemas: tuple[str, ...] = ()


def weaknesses() -> list[Weakness]:
    """Return what the connected role could do to the append-only tables of all schemas.

    Empty is as it should be. It takes two statements, whatever the number of tenants.
    """
    with connection.cursor() as cursor:
        cursor.execute(_ROLE)
        role, is_superuser, *powers = cursor.fetchone()
        cursor.execute(_TABLES, [append_only_tables()])
        schemas = cursor.fetchone()
    subject = f"the database role {role}"
    if is_superuser:
        return [Weakness(f"{subject} is a superuser")]
    anywhere = (
        "may make roles",
        "may write files or start programs on the server",
        "may create schemas",
        "may create temporary tables, which shadow real ones",
    )
    somewhere = (
        "owns append-only tables, or may become their owner",
        "may change append-only tables or hang triggers on them",
        "may create in the schemas of append-only tables",
    )
    return [
        *(Weakness(f"{subject} {text}") for text, holds in zip(anywhere, powers, strict=True) if holds),
        *(
            Weakness(f"{subject} {text}", tuple(where))
            for text, where in zip(somewhere, schemas, strict=True)
            if where
        ),
    ]
