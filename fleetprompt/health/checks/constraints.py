"""Checks of constraints: each tenant has those that its models declare, and none leads elsewhere.

The database alone makes keys unique, and allows one running directive in a line.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator

from django.conf import settings
from django.core import checks
from django.db import models as fields
from django.db.models import Model

from fleetprompt.health.checks.tables import complete
from fleetprompt.health.checkup import Findings, Tenants, Where, database, grouped
from fleetprompt.postgres.queries import fetch_all
from fleetprompt.tenants.schemas import models

# With the columns of an index that makes them unique in all rows.
_INDEXES_AND_CHECKS = """
SELECT n.nspname, t.relname, i.relname, CASE WHEN indisunique AND indpred IS NULL THEN
       array(SELECT attname::text FROM pg_attribute WHERE attrelid = t.oid AND attnum = ANY(indkey)) END
  FROM pg_index JOIN pg_class i ON i.oid = indexrelid JOIN pg_class t ON t.oid = indrelid
  JOIN pg_namespace n ON n.oid = t.relnamespace
 WHERE indisvalid AND n.nspname = ANY(%(schemas)s) AND t.relname = ANY(%(tables)s)
 UNION ALL
SELECT n.nspname, t.relname, conname, NULL
  FROM pg_constraint JOIN pg_class t ON t.oid = conrelid JOIN pg_namespace n ON n.oid = connamespace
 WHERE contype = 'c' AND convalidated AND n.nspname = ANY(%(schemas)s) AND t.relname = ANY(%(tables)s)
"""
_FOREIGN_REFERENCES = """
SELECT source.nspname, conname, target.nspname
  FROM pg_constraint
  JOIN pg_class ON pg_class.oid = confrelid
  JOIN pg_namespace source ON source.oid = connamespace
  JOIN pg_namespace target ON target.oid = pg_class.relnamespace
 WHERE contype = 'f' AND source.oid <> target.oid
   AND (source.nspname = ANY(%s) OR target.nspname = ANY(%s))
 ORDER BY 1, 2
"""


_Declared = tuple[str, str]
"""A table, and the name of a constraint or an index, or the table with its unique columns."""


@database("keys are unique, and constraints are there")
def constraints(tenants: Tenants) -> Findings:
    """Without them, two requests with one key become two directives, and two of one line may run."""
    declared = [item for model in models(settings.TENANT_APPS) for item in _constraints(model)]
    for what, where in grouped(_lacking(tenants, declared)):
        yield checks.Error(
            f"constraints are missing or not valid: {what}",
            hint="Remove duplicates, and make them again as the migrations do (`manage.py sqlmigrate`).",
            obj=where,
            id="tenants.E015",
        )


@database("indexes are there")
def indexes(tenants: Tenants) -> Findings:
    """Without them, claims and pages read whole tables."""
    every = models(settings.TENANT_APPS)
    declared = [(model._meta.db_table, index.name) for model in every for index in model._meta.indexes]
    for what, where in grouped(_lacking(tenants, declared)):
        yield checks.Warning(
            f"indexes are missing or not valid: {what}",
            hint="Make them again as the migrations do (`manage.py sqlmigrate`), or REINDEX.",
            obj=where,
            id="tenants.W011",
        )


@database("tables of one schema refer to no other")
def references(tenants: Tenants) -> Findings:
    """A reference to another schema means another tenant's row."""
    rows = fetch_all(_FOREIGN_REFERENCES, list(tenants), list(tenants))
    for source, name, target in rows:
        yield checks.Error(
            f"the foreign key {source}.{name} refers to the schema {target}",
            hint="Drop it, and make it again inside its own schema.",
            obj=Where([tenants.get(source) or tenants[target]]),
            id="tenants.E004",
        )


def _lacking(tenants: Tenants, declared: Collection[_Declared]) -> dict[str, str]:
    ready = complete(tenants)
    found = _found(ready, {table for table, _ in declared})
    missing = {slug: set(declared) - found[schema] for schema, slug in ready.items()}
    return {slug: ", ".join(sorted(what for _, what in items)) for slug, items in missing.items() if items}


def _found(schemas: Collection[str], tables: Collection[str]) -> dict[str, set[_Declared]]:
    found: dict[str, set[_Declared]] = defaultdict(set)
    rows = fetch_all(_INDEXES_AND_CHECKS, schemas=list(schemas), tables=list(tables))
    for schema, table, name, unique_columns in rows:
        found[schema].add((table, name))
        if unique_columns:
            found[schema].add(_key(table, unique_columns))
    return found


def _key(table: str, columns: Iterable[str]) -> _Declared:
    return table, f"{table} ({', '.join(sorted(columns))})"


def _constraints(model: type[Model]) -> Iterator[_Declared]:
    meta = model._meta
    keys = [[field.name] for field in meta.local_concrete_fields if field.unique]
    for names in [*keys, *meta.unique_together]:
        columns = [str(meta.get_field(name).column) for name in names]  # type: ignore[union-attr]
        yield _key(meta.db_table, columns)
    for constraint in meta.constraints:
        if isinstance(constraint, fields.CheckConstraint | fields.UniqueConstraint):
            yield meta.db_table, constraint.name
