"""Tables: compares append-only tables in the database with their models.

The database's owner may hide rows of a table from the program, or drop new ones, while every visible row
fits its seal. A policy, rule, view, trigger or index can do that.
"""

import re
from collections.abc import Collection, Iterator
from functools import cache
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import Model, UniqueConstraint

from fleetprompt.postgres.queries import fetch_all
from fleetprompt.tenants import schemas as tenant_schemas
from signals import sql
from signals.storage import triggers
from signals.storage.triggers import Deviation

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
    """Return, by schema of a tenant with all migrations, how append-only tables differ from their models.

    It takes one statement. Functions and operators of the public schema that may replace PostgreSQL's own
    count for each schema.
    """
    found: dict[str, list[Deviation]] = {schema: [] for schema in schemas}
    rows = fetch_all(sql.TABLE_DEVIATIONS, schemas=list(schemas), **_wanted())
    for schema, table, kind, what in sorted(rows):
        text, mend = _TEXTS[kind]
        names = {"table": table, "what": what}
        for where in [schema] if schema in found else found:
            found[where].append(Deviation(text.format(**names), mend.format(**names)))
    return found


@cache
def _wanted() -> dict[str, Any]:
    """Return the declarations of append-only models, for `TABLE_DEVIATIONS`."""
    every = tenant_schemas.models(settings.TENANT_APPS)
    models = [model for model in every if getattr(model, "append_only", False)]
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


def _default(editor: Any, field: Any) -> str | None:
    """Return a column's default as PostgreSQL writes it; None where it has several spellings."""
    if not field.has_db_default():
        return ""
    default, _params = editor.db_default_sql(field)
    call = re.fullmatch(r"\(?(\w+\(\))\)?", str(default).lower())
    return call[1] if call else None


def _unique(model: type[Model]) -> Iterator[str]:
    """Yield the columns of each key of a model, sorted and joined by commas."""
    meta = model._meta
    keys = [[field.name] for field in meta.concrete_fields if field.unique]
    keys += [list(names) for names in meta.unique_together]
    keys += [list(one.fields) for one in meta.constraints if isinstance(one, UniqueConstraint)]
    for names in keys:
        yield ",".join(sorted(str(meta.get_field(name).column) for name in names))  # type: ignore[union-attr]
