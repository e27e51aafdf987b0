"""Checks that append-only tables show the program every row, and take every row that it gives them.

The database's owner may put something before a table that hides rows from the program, or swallows new
ones, while every row that is left fits its seal. So the tables are compared with what the models declare.
"""

import re
from collections.abc import Collection, Iterator
from functools import cache
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import connection
from django.db.models import Model, UniqueConstraint

from signals.storage import triggers
from signals.storage.triggers import Deviation

# Each table by its name and schema, and the objects of a schema by what depends on it: no catalogue that
# grows with the number of tenants is read as a whole.
_DEVIATIONS = """
WITH space AS MATERIALIZED (
    SELECT oid AS nsp, nspname::text AS schema FROM pg_namespace
     WHERE nspname = ANY(%(schemas)s) OR nspname = 'public'
), place AS MATERIALIZED (
    SELECT schema, name, nsp, c.* FROM space CROSS JOIN unnest(%(tables)s::text[]) AS given (name)
      LEFT JOIN pg_class c ON c.relname = name AND c.relnamespace = nsp
     WHERE schema = ANY(%(schemas)s)
), wanted AS MATERIALIZED (
    SELECT * FROM unnest(%(column_tables)s::text[], %(columns)s::text[], %(types)s::text[],
                         %(defaults)s::text[]) AS given (of, name, type, value)
)
SELECT schema, name, 'missing', '' FROM place WHERE oid IS NULL
 UNION ALL
SELECT schema, name, 'kind', CASE relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
       WHEN 'f' THEN 'foreign table' WHEN 'p' THEN 'partitioned table' ELSE 'thing' END
  FROM place WHERE relkind <> 'r'
 UNION ALL
SELECT schema, name, 'unlogged', '' FROM place WHERE relkind = 'r' AND relpersistence <> 'p'
 UNION ALL
SELECT schema, name, 'shadowed', '' FROM place
 WHERE schema = current_schema() AND to_regclass(quote_ident(name)) IS DISTINCT FROM oid::regclass
 UNION ALL
SELECT schema, name, 'row security', '' FROM place WHERE relrowsecurity OR relforcerowsecurity
 UNION ALL
SELECT schema, name, 'policy', quote_ident(polname) FROM place JOIN pg_policy ON polrelid = place.oid
 UNION ALL
SELECT schema, name, 'rule', quote_ident(rulename)
  FROM place JOIN pg_rewrite ON ev_class = place.oid WHERE relkind = 'r'
 UNION ALL
SELECT schema, name, 'child', inhrelid::regclass::text FROM place JOIN pg_inherits ON inhparent = place.oid
 UNION ALL
SELECT schema, name, 'parent', inhparent::regclass::text FROM place JOIN pg_inherits ON inhrelid = place.oid
 UNION ALL
SELECT schema, name, 'trigger', quote_ident(tgname) FROM place JOIN pg_trigger ON tgrelid = place.oid
 WHERE NOT tgisinternal AND NOT name || '.' || tgname = ANY(%(triggers)s)
 UNION ALL
SELECT schema, place.name, 'column', quote_ident(wanted.name)
  FROM place JOIN wanted ON of = place.name
  LEFT JOIN pg_attribute ON attrelid = place.oid AND attname = wanted.name AND NOT attisdropped
  LEFT JOIN pg_type ON pg_type.oid = atttypid
  LEFT JOIN pg_attrdef ON adrelid = place.oid AND adnum = attnum
 WHERE relkind = 'r'
   AND (attname IS NULL OR attgenerated <> '' OR atttypid <> to_regtype(type)
        OR format_type(atttypid, atttypmod) <> regexp_replace(type, '^varchar', 'character varying')
        OR attcollation <> typcollation
        OR value <> lower(coalesce(pg_get_expr(adbin, adrelid), '')))
 UNION ALL
SELECT schema, name, 'unique', indexrelid::regclass::text
  FROM place JOIN pg_index ON indrelid = place.oid
 WHERE (indisunique OR indisexclusion)
   AND NOT (indpred IS NULL AND indexprs IS NULL AND indisunique
            AND indcollation::oid[] <@ ARRAY[0, 'pg_catalog."default"'::regcollation]::oid[]
            AND name || '.' || (SELECT string_agg(attname, ',' ORDER BY attname) FROM pg_attribute
                                 WHERE attrelid = indrelid AND attnum = ANY(indkey)) = ANY(%(unique)s))
 UNION ALL
SELECT schema, '', 'function', p.oid::regprocedure::text
  FROM space JOIN pg_depend d ON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = nsp
                             AND d.classid = 'pg_proc'::regclass
  JOIN pg_proc p ON p.oid = d.objid
 WHERE NOT EXISTS (SELECT FROM pg_depend e
                    WHERE e.classid = d.classid AND e.objid = d.objid AND e.deptype = 'e')
   AND EXISTS (SELECT FROM pg_proc o WHERE o.proname = p.proname
                  AND o.pronamespace = 'pg_catalog'::regnamespace)
 UNION ALL
SELECT schema, '', 'operator', o.oid::regoperator::text
  FROM space JOIN pg_depend d ON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = nsp
                             AND d.classid = 'pg_operator'::regclass
  JOIN pg_operator o ON o.oid = d.objid
 WHERE NOT EXISTS (SELECT FROM pg_depend e
                    WHERE e.classid = d.classid AND e.objid = d.objid AND e.deptype = 'e')
"""
_TEXTS = {
    "missing": ("{table} is missing", "Restore it from a backup."),
    "kind": ("{table} is a {what} and no table", "Restore the table from a backup, after a look at it."),
    "unlogged": ("{table} is not logged: a crash empties it", "ALTER TABLE {table} SET LOGGED;"),
    "shadowed": ("another relation hides {table}", "Drop that, or mend the search_path."),
    "row security": (
        "{table} has row security, which hides rows from the program",
        "ALTER TABLE {table} DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY;",
    ),
    "policy": ("{table} has the policy {what}", "DROP POLICY {what} ON {table};"),
    "rule": ("{table} has the rule {what}", "DROP RULE {what} ON {table};"),
    "child": (
        "{what} inherits from {table}: its rows show there",
        "ALTER TABLE {what} NO INHERIT {table};",
    ),
    "parent": ("{table} inherits from {what}", "ALTER TABLE {table} NO INHERIT {what};"),
    "trigger": (
        "{table} has the trigger {what}, which no migration makes",
        "DROP TRIGGER {what} ON {table};",
    ),
    "column": (
        "{table}.{what} is not as its model declares it",
        "Make it again as the migrations do (`manage.py sqlmigrate`).",
    ),
    "unique": (
        "{what} on {table} makes unique what no model declares so: the program leaves out what is refused",
        "DROP INDEX {what}; (or its constraint)",
    ),
    "function": ("the function {what} may stand in for PostgreSQL's own", "DROP FUNCTION {what};"),
    "operator": ("the operator {what} may stand in for PostgreSQL's own", "DROP OPERATOR {what};"),
}


def deviations(schemas: Collection[str]) -> dict[str, list[Deviation]]:
    """Return, by schema, how append-only tables there are not what the models declare; one statement.

    What the public schema has that may stand in for PostgreSQL's own is told of each.

    Args:
        schemas: of tenants that have all migrations.
    """
    found: dict[str, list[Deviation]] = {schema: [] for schema in schemas}
    with connection.cursor() as cursor:
        cursor.execute(_DEVIATIONS, {"schemas": list(schemas), **_wanted()})
        rows = sorted(cursor.fetchall())
    for schema, table, kind, what in rows:
        text, mend = _TEXTS[kind]
        names = {"table": table, "what": what}
        for where in [schema] if schema in found else found:
            found[where].append(Deviation(text.format(**names), mend.format(**names)))
    return found


@cache
def _wanted() -> dict[str, Any]:
    """Return what the models of tenants declare about append-only tables, for `_DEVIATIONS`."""
    models = list(_models())
    editor = connection.schema_editor()
    columns = [
        (model._meta.db_table, field.column, field.db_type(connection), _default(editor, field))
        for model in models
        for field in model._meta.concrete_fields
    ]
    of, names, types, defaults = map(list, zip(*columns, strict=True))
    return {
        "tables": [model._meta.db_table for model in models],
        "column_tables": of,
        "columns": names,
        "types": types,
        "defaults": defaults,
        "unique": [f"{model._meta.db_table}.{columns}" for model in models for columns in _unique(model)],
        "triggers": [f"{trigger.table}.{trigger.name}" for trigger in triggers.expected()],
    }


def _models() -> Iterator[type[Model]]:
    for model in apps.get_models():
        config = model._meta.app_config
        if getattr(model, "append_only", False) and config and config.name in settings.TENANT_APPS:
            yield model


def _default(editor: Any, field: Any) -> str | None:
    """Return a column's default as PostgreSQL writes it; None where that may be written in several ways."""
    if not field.has_db_default():
        return ""
    sql, _params = editor.db_default_sql(field)
    call = re.fullmatch(r"\(?(\w+\(\))\)?", str(sql).lower())
    return call[1] if call else None


def _unique(model: type[Model]) -> Iterator[str]:
    """Give the columns of each key of a model, sorted and joined by commas."""
    meta = model._meta
    keys = [[field.name] for field in meta.concrete_fields if field.unique]
    keys += [list(names) for names in meta.unique_together]
    keys += [list(one.fields) for one in meta.constraints if isinstance(one, UniqueConstraint)]
    for names in keys:
        yield ",".join(sorted(str(meta.get_field(name).column) for name in names))  # type: ignore[union-attr]
