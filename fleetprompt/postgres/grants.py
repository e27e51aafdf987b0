"""What the application's database role may do in a schema: read and write rows, and never change tables,
nor what an append-only table has been told.
"""

from collections.abc import Iterable
from typing import Any

from django.apps import apps
from django.db import connection, transaction

from fleetprompt.errors import Refused
from fleetprompt.postgres import owner

_ROWS = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"})
_APPEND = frozenset({"SELECT", "INSERT"})
_READ = frozenset({"SELECT"})
_SEQUENCE = frozenset({"USAGE", "SELECT"})

_RELATIONS = """
SELECT c.relname, c.relkind::text,
       coalesce(array_agg(a.privilege_type) FILTER (WHERE a.grantee IN (0, r.oid)), '{}'),
       EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attacl IS NOT NULL)
  FROM pg_class c
  JOIN pg_roles r ON r.rolname = %s
  LEFT JOIN LATERAL aclexplode(c.relacl) a ON true
 WHERE c.relnamespace = quote_ident(%s)::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
   AND pg_has_role(c.relowner, 'MEMBER')
 GROUP BY c.oid, c.relname, c.relkind
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
    ones, and before version 15 new tables in that schema. Where one role is everything it does nothing.

    Raises:
        Refused: the application's role does not exist.
    """
    role = owner.application()
    if role is None:
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
    append_only = append_only_tables()
    cursor.execute(_RELATIONS, [role, schema])
    for name, kind, granted, has_columns in cursor.fetchall():
        wanted = _wanted(name, kind, append_only)
        if set(granted) == wanted and not has_columns:
            continue
        what = f"{'SEQUENCE ' if kind == 'S' else ''}{_quoted(schema)}.{_quoted(name)}"
        cursor.execute(
            f"REVOKE ALL ON {what} FROM PUBLIC, {_quoted(role)};"
            f" GRANT {', '.join(sorted(wanted))} ON {what} TO {_quoted(role)}"
        )


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
