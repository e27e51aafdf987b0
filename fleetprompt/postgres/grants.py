"""What the application's database role may do in a schema: read and write rows, and never change tables,
nor what an append-only table has been told.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from django.apps import apps
from django.db import connection, transaction

from fleetprompt.errors import Refused
from fleetprompt.postgres import owner

_ROWS = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"})
_APPEND = frozenset({"SELECT", "INSERT"})
_READ = frozenset({"SELECT"})
_SEQUENCE = frozenset({"USAGE", "SELECT"})

TEMPLATE = "fleetprompt_template"
"""The schema that new tenants are cloned from: the owner's alone, without rights for the application."""

_SCHEMAS = """
SELECT nspname FROM pg_namespace
 WHERE nspname = ANY(%s)
   AND (NOT has_schema_privilege(%s, oid, 'USAGE') OR has_schema_privilege(%s, oid, 'CREATE'))
"""
_RELATIONS = """
SELECT relname, relkind, granted, has_columns, array_agg(nspname)
  FROM (SELECT c.relname::text, c.relkind::text, n.nspname::text,
               array(SELECT DISTINCT privilege_type FROM aclexplode(c.relacl)
                      WHERE grantee IN (0, r.oid) ORDER BY 1) AS granted,
               EXISTS (SELECT FROM pg_attribute
                        WHERE attrelid = c.oid AND attacl IS NOT NULL) AS has_columns
          FROM pg_namespace n
          JOIN pg_depend d ON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid
                          AND d.classid = 'pg_class'::regclass
          JOIN pg_class c ON c.oid = d.objid
          JOIN pg_roles r ON r.rolname = %s
         WHERE n.nspname = ANY(%s) AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
           AND pg_has_role(c.relowner, 'MEMBER')) found
 GROUP BY relname, relkind, granted, has_columns
"""


def append_only_tables() -> list[str]:
    """Return the tables of all models that say `append_only = True`."""
    return sorted(
        model._meta.db_table for model in apps.get_models() if getattr(model, "append_only", False)
    )


def grant(schema: str) -> None:
    """Bring the rights of the application's role in a schema to what they should be.

    To be called by the owner, after migrations; writes only what differs, and leaves alone what belongs to
    others, such as an extension's views. In the public schema it also
    takes from everybody what PostgreSQL gives to everybody: temporary tables, which would shadow real
    ones, and before version 15 new tables in that schema. In `TEMPLATE`, and where one role is
    everything, it does nothing.

    Raises:
        Refused: the application's role does not exist.
    """
    role = owner.application()
    if role is None or schema == TEMPLATE:
        return
    with transaction.atomic(), connection.cursor() as cursor:
        # Two that write rights of one table at once would fail, not wait.
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('fleetprompt.grants'))")
        cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role])
        if not cursor.fetchone():
            raise Refused(f"DATABASE_URL: the database has no role {role!r}; make it, or name another")
        _grant_schema(cursor, schema, role)
        _grant_relations(cursor, schema, role)
        if schema == "public":
            _refuse_temporary(cursor, role)


def lacking(schemas: Collection[str]) -> set[str]:
    """Return those of the schemas in which `grant` would write something, in two statements."""
    role = owner.application()
    if role is None:
        return set()
    with connection.cursor() as cursor:
        cursor.execute(_SCHEMAS, [list(schemas), role, role])
        found = {schema for (schema,) in cursor.fetchall()}
        for _, _, where in _deviations(cursor, schemas, role):
            found.update(where)
    return found


def _grant_schema(cursor: Any, schema: str, role: str) -> None:
    cursor.execute(
        "SELECT has_schema_privilege(%(role)s, %(schema)s, 'USAGE'),"
        " has_schema_privilege(%(role)s, %(schema)s, 'CREATE')",
        {"role": role, "schema": schema},
    )
    may_use, may_create = cursor.fetchone()
    if may_create:
        cursor.execute(f"REVOKE CREATE ON SCHEMA {_quoted(schema)} FROM PUBLIC, {_quoted(role)}")
    if not may_use:
        cursor.execute(f"GRANT USAGE ON SCHEMA {_quoted(schema)} TO {_quoted(role)}")


def _grant_relations(cursor: Any, schema: str, role: str) -> None:
    statements = []
    for name, wanted, _ in _deviations(cursor, [schema], role):
        what = f"{'SEQUENCE ' if wanted == _SEQUENCE else ''}{_quoted(schema)}.{_quoted(name)}"
        statements.append(
            f"REVOKE ALL ON {what} FROM PUBLIC, {_quoted(role)};"
            f" GRANT {', '.join(sorted(wanted))} ON {what} TO {_quoted(role)};"
        )
    if statements:
        cursor.execute("\n".join(statements))


def _deviations(
    cursor: Any, schemas: Collection[str], role: str
) -> Iterator[tuple[str, frozenset[str], list[str]]]:
    """Give what has other rights than it should: its name, the rights it should have, in which schemas."""
    append_only = append_only_tables()
    cursor.execute(_RELATIONS, [role, list(schemas)])
    for name, kind, granted, has_columns, where in cursor.fetchall():
        wanted = _wanted(name, kind, append_only)
        if set(granted) != wanted or has_columns:
            yield name, wanted, where


def _wanted(name: str, kind: str, append_only: Iterable[str]) -> frozenset[str]:
    if kind == "S":
        return _SEQUENCE
    if kind in "vm" or name == "django_migrations":
        return _READ
    return _APPEND if name in append_only else _ROWS


def _refuse_temporary(cursor: Any, role: str) -> None:
    cursor.execute(
        "SELECT current_database(), has_database_privilege(%s, current_database(), 'TEMPORARY')", [role]
    )
    database, may = cursor.fetchone()
    if may:
        cursor.execute(f"REVOKE TEMPORARY ON DATABASE {_quoted(database)} FROM PUBLIC, {_quoted(role)}")


def _quoted(name: str) -> str:
    return str(connection.ops.quote_name(name))
