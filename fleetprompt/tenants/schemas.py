"""Reads that go through many tenants' schemas at once, such as whether they are up to date."""

from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.cache import cache
from django.db import ProgrammingError, connection
from django.db.migrations.loader import MigrationLoader
from django_tenants.utils import get_public_schema_name

from fleetprompt.tenants.models import Tenant

_TOGETHER = 100
_KEY = "tenants.behind"
_SECONDS = 60
_APPLIED = "SELECT app, name FROM {schema}.django_migrations"

History = frozenset[tuple[str, str]]
"""The migrations that were applied in a schema, by the labels of their apps and their names."""


def histories(names: Collection[str]) -> dict[str, History | None]:
    """Return, by schema, what was applied in it; None when there are no tables at all.

    Args:
        names: of schemas; it takes two statements per hundred.
    """
    rows = read_each(names, ("django_migrations",), _APPLIED)
    return {schema: None if found is None else frozenset(found) for schema, found in rows.items()}


def missing_migrations(names: Collection[str]) -> dict[str, list[str] | None]:
    """Return, by schema, the tenant migrations that it lacks; None when there are no tables at all.

    Args:
        names: of schemas; it takes one statement per hundred.
    """
    rows = read_each(names, ("django_migrations",), _APPLIED)
    return {
        schema: None if found is None else _lacks(found, settings.TENANT_APPS)
        for schema, found in rows.items()
    }


def missing_in_public() -> list[str] | None:
    """Return the migrations that the public schema lacks; None when it has no tables at all."""
    public = get_public_schema_name()
    found = read_each([public], ("django_migrations",), _APPLIED)[public]
    return None if found is None else _lacks(found, settings.SHARED_APPS)


def missing_tables() -> list[str]:
    """Return the tables of models that the public schema lacks, whatever its migrations say."""
    models = [
        model
        for config in apps.get_app_configs()
        if config.name in settings.SHARED_APPS
        for model in config.get_models(include_auto_created=True)
        if model._meta.managed and not model._meta.proxy
    ]
    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [get_public_schema_name()])
        found = {name for (name,) in cursor.fetchall()}
    return sorted({model._meta.db_table for model in models} - found)


def read_each(
    names: Collection[str], tables: Collection[str], select: str, values: Mapping[str, Any] | None = None
) -> dict[str, list[tuple[Any, ...]] | None]:
    """Return, by schema, the rows of a SELECT; None where a table is missing or the SELECT fails.

    Args:
        names: of schemas; it takes two statements per hundred, divided by the number of tables.
        tables: what the SELECT reads in each.
        select: with `{schema}` before each table, or the public one behind a schema would answer for it.
        values: of the SELECT's named parameters.
    """
    found: dict[str, list[tuple[Any, ...]] | None] = dict.fromkeys(names)
    # A statement holds a lock on each table and each of its indexes, and a server has so many only.
    together = max(1, _TOGETHER // len(tables))
    for start in range(0, len(found), together):
        part = list(found)[start : start + together]
        try:
            found |= _read(part, tables, select, values or {})
        except ProgrammingError:
            # A tenant was deleted since the look for its tables, or one is broken: each by itself.
            for name in part:
                with suppress(ProgrammingError):
                    found |= _read([name], tables, select, values or {})
    return found


def behind() -> list[str]:
    """Return the slugs of all tenants that lack migrations or tables, as of at most a minute ago."""
    slugs: list[str] | None = cache.get(_KEY)
    if slugs is None:
        schemas = dict(Tenant.objects.values_list("schema_name", "slug"))
        missing = missing_migrations(schemas)
        slugs = [slug for schema, slug in schemas.items() if missing[schema] != []]
        cache.set(_KEY, slugs, _SECONDS)
    return slugs


def _read(
    names: Collection[str], tables: Collection[str], select: str, values: Mapping[str, Any]
) -> dict[str, list[tuple[Any, ...]]]:
    found: dict[str, list[tuple[Any, ...]]] = {name: [] for name in _with_tables(names, tables)}
    if found:
        sql = " UNION ALL ".join(
            f"SELECT %(name{n})s, row.* FROM ({select.format(schema=connection.ops.quote_name(name))}) row"  # noqa: S608
            for n, name in enumerate(found)
        )
        with connection.cursor() as cursor:
            cursor.execute(sql, {**values, **{f"name{n}": name for n, name in enumerate(found)}})
            for name, *row in cursor.fetchall():
                found[name].append(tuple(row))
    return found


def _with_tables(names: Collection[str], tables: Collection[str]) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT schemaname FROM pg_tables WHERE tablename = ANY(%s) AND schemaname = ANY(%s)"
            " GROUP BY schemaname HAVING count(*) = %s",
            [list(tables), list(names), len(tables)],
        )
        return [schema for (schema,) in cursor.fetchall()]


def _lacks(applied: list[tuple[Any, ...]], installed: Collection[str]) -> list[str]:
    return [f"{app}.{name}" for app, name in sorted(_expected(frozenset(installed)) - set(applied))]


@lru_cache
def _expected(installed: frozenset[str]) -> frozenset[tuple[str, str]]:
    labels = {config.label for config in apps.get_app_configs() if config.name in installed}
    known = MigrationLoader(None, ignore_no_migrations=True).disk_migrations
    return frozenset((app, name) for app, name in known if app in labels)
