"""Reads from many tenants' schemas at once, such as their missing migrations and tables."""

from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.cache import cache
from django.db import ProgrammingError
from django.db.migrations.loader import MigrationLoader
from django.db.models import Model
from django_tenants.utils import get_public_schema_name

from fleetprompt.postgres.queries import fetch_all, quoted
from fleetprompt.tenants.models import Tenant

_MAX_TABLES = 100
"""Tables in one statement: it locks each table and each of its indexes, and a server has few locks."""
_TABLES_OF_SCHEMA = "SELECT tablename FROM pg_tables WHERE schemaname = %s"
_SCHEMAS_WITH_TABLES = """
SELECT schemaname FROM pg_tables WHERE tablename = ANY(%s) AND schemaname = ANY(%s)
 GROUP BY schemaname HAVING count(*) = %s
"""
_APPLIED_MIGRATIONS = "SELECT app, name FROM {schema}.django_migrations"
_ROWS_OF_SCHEMA = "SELECT %({name})s, row.* FROM ({select}) row"

_CACHE_KEY = "tenants.behind"
_CACHE_SECONDS = 60

History = frozenset[tuple[str, str]]
"""The applied migrations of a schema: pairs of the app's label and the migration's name."""


def histories(names: Collection[str]) -> dict[str, History | None]:
    """Return, by schema, its applied migrations; None when there are no tables at all.

    Args:
        names: of schemas; it takes two statements per hundred.
    """
    rows = read_each(names, ("django_migrations",), _APPLIED_MIGRATIONS)
    return {schema: None if found is None else frozenset(found) for schema, found in rows.items()}


def missing_migrations(
    names: Collection[str], installed: Collection[str] | None = None
) -> dict[str, list[str] | None]:
    """Return, by schema, the migrations of apps that it lacks; None when there are no tables at all.

    Args:
        names: of schemas; it takes one statement per hundred.
        installed: those of tenants by default.
    """
    expected = _expected(frozenset(settings.TENANT_APPS if installed is None else installed))
    return {
        schema: None if found is None else [f"{app}.{name}" for app, name in sorted(expected - found)]
        for schema, found in histories(names).items()
    }


def missing_in_public() -> list[str] | None:
    """Return the migrations that the public schema lacks; None when it has no tables at all."""
    public = get_public_schema_name()
    return missing_migrations([public], settings.SHARED_APPS)[public]


def missing_tables() -> list[str]:
    """Return the tables of shared models that the public schema lacks."""
    found = {name for (name,) in fetch_all(_TABLES_OF_SCHEMA, get_public_schema_name())}
    return sorted({model._meta.db_table for model in models(settings.SHARED_APPS)} - found)


def models(installed: Collection[str]) -> list[type[Model]]:
    """Return the models of installed apps that have tables, those of many-to-many relations included."""
    return [
        model
        for config in apps.get_app_configs()
        if config.name in installed
        for model in config.get_models(include_auto_created=True)
        if model._meta.managed and not model._meta.proxy
    ]


def read_each(
    names: Collection[str], tables: Collection[str], select: str, values: Mapping[str, Any] | None = None
) -> dict[str, list[tuple[Any, ...]] | None]:
    """Return, by schema, the rows of a SELECT; None where a table is missing or the SELECT fails.

    Args:
        names: of schemas; it takes two statements per hundred, divided by the number of tables.
        tables: those that the SELECT reads in each.
        select: with `{schema}` before each table; otherwise a public table could be read instead.
        values: of the SELECT's named parameters.
    """
    found: dict[str, list[tuple[Any, ...]] | None] = dict.fromkeys(names)
    size = max(1, _MAX_TABLES // len(tables))
    for start in range(0, len(found), size):
        part = list(found)[start : start + size]
        try:
            found |= _read(part, tables, select, values or {})
        except ProgrammingError:
            # A tenant was deleted meanwhile, or one is broken: each gets a statement of its own.
            for name in part:
                with suppress(ProgrammingError):
                    found |= _read([name], tables, select, values or {})
    return found


def behind() -> list[str]:
    """Return the slugs of all tenants that lack migrations or tables, as of at most a minute ago."""
    slugs: list[str] | None = cache.get(_CACHE_KEY)
    if slugs is None:
        schemas = dict(Tenant.objects.values_list("schema_name", "slug"))
        missing = missing_migrations(schemas)
        slugs = [slug for schema, slug in schemas.items() if missing[schema] != []]
        cache.set(_CACHE_KEY, slugs, _CACHE_SECONDS)
    return slugs


def _read(
    names: Collection[str], tables: Collection[str], select: str, values: Mapping[str, Any]
) -> dict[str, list[tuple[Any, ...]]]:
    complete = fetch_all(_SCHEMAS_WITH_TABLES, list(tables), list(names), len(tables))
    found: dict[str, list[tuple[Any, ...]]] = {name: [] for (name,) in complete}
    if found:
        statement = " UNION ALL ".join(
            _ROWS_OF_SCHEMA.format(name=f"name{n}", select=select.format(schema=quoted(name)))
            for n, name in enumerate(found)
        )
        names_of = {f"name{n}": name for n, name in enumerate(found)}
        for name, *row in fetch_all(statement, **values, **names_of):
            found[name].append(tuple(row))
    return found


@lru_cache
def _expected(installed: frozenset[str]) -> History:
    labels = {config.label for config in apps.get_app_configs() if config.name in installed}
    known = MigrationLoader(None, ignore_no_migrations=True).disk_migrations
    return frozenset((app, name) for app, name in known if app in labels)
