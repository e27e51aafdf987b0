"""Whether the tenants' schemas are up to date, read for many of them at once."""

from collections.abc import Collection
from functools import lru_cache

from django.apps import apps
from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from fleetprompt.tenants.models import Tenant

_TOGETHER = 100
_KEY = "tenants.behind"
_SECONDS = 60


def missing_migrations(names: Collection[str]) -> dict[str, list[str] | None]:
    """Return, by schema, the tenant migrations that it lacks; None when there are no tables at all.

    Args:
        names: of schemas; it takes one statement per hundred.
    """
    found: dict[str, list[str] | None] = dict.fromkeys(names)
    migrated = _with_tables(names)
    for start in range(0, len(migrated), _TOGETHER):
        applied: dict[str, set[tuple[str, str]]] = {}
        part = migrated[start : start + _TOGETHER]
        with connection.cursor() as cursor:
            cursor.execute(_applied_sql(part), part)
            for schema, app, name in cursor.fetchall():
                applied.setdefault(schema, set()).add((app, name))
        for schema in part:
            lacks = sorted(_expected() - applied.get(schema, set()))
            found[schema] = [f"{app}.{name}" for app, name in lacks]
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


def _with_tables(names: Collection[str]) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT schemaname FROM pg_tables"
            " WHERE tablename = 'django_migrations' AND schemaname = ANY(%s)",
            [list(names)],
        )
        return [schema for (schema,) in cursor.fetchall()]


def _applied_sql(schemas: list[str]) -> str:
    # Qualified: a schema that is gone must not be answered for by the public one behind it.
    return " UNION ALL ".join(
        f"SELECT %s, app, name FROM {connection.ops.quote_name(schema)}.django_migrations"  # noqa: S608
        for schema in schemas
    )


@lru_cache
def _expected() -> frozenset[tuple[str, str]]:
    labels = {config.label for config in apps.get_app_configs() if config.name in settings.TENANT_APPS}
    known = MigrationLoader(None, ignore_no_migrations=True).disk_migrations
    return frozenset((app, name) for app, name in known if app in labels)
