"""Whether each schema has its tables, all migrations, and no table of the other kind."""

from collections import defaultdict
from collections.abc import Collection

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.db.models import Model
from django_tenants.utils import get_public_schema_name

from fleetprompt.health.checkup import Findings, Tenants, Where, ask, database, grouped
from fleetprompt.tenants.models import SCHEMA_PREFIX, Tenant
from fleetprompt.tenants.schemas import missing_migrations

_TABLES = "SELECT schemaname, tablename FROM pg_tables WHERE schemaname = ANY(%s) AND tablename = ANY(%s)"
_MIGRATE = "Run `manage.py migrate_schemas`."


def models(installed: Collection[str]) -> list[type[Model]]:
    """Return the models of installed apps that have tables, those between two models included."""
    return [
        model
        for config in apps.get_app_configs()
        if config.name in installed
        for model in config.get_models(include_auto_created=True)
        if model._meta.managed and not model._meta.proxy
    ]


def complete(tenants: Tenants) -> dict[str, str]:
    """Return those tenants that have all migrations: what the others lack is said already."""
    missing = missing_migrations(tenants)
    return {schema: slug for schema, slug in tenants.items() if missing[schema] == []}


@database("every tenant has its schema, and every schema its tenant")
def schemas(tenants: Tenants) -> Findings:
    """They are made and removed together; a restored backup may have one without the other."""
    existing = {
        name
        for (name,) in ask("SELECT nspname FROM pg_namespace WHERE starts_with(nspname, %s)", SCHEMA_PREFIX)
    }
    if lost := [slug for schema, slug in tenants.items() if schema not in existing]:
        yield checks.Error(
            "its schema is gone: pages and directives of it fail",
            hint="Restore the schema from a backup, or `manage.py tenant delete SLUG`.",
            obj=Where(lost),
            id="tenants.E010",
        )
    known = set(Tenant.objects.values_list("schema_name", flat=True))
    if unknown := sorted(existing - known):
        yield checks.Warning(
            f"no tenant has the schema {Where(unknown)}: no migration and no sweep reaches it",
            hint="Restore the rows of tenants_tenant and tenants_domain, or drop the schema.",
            id="tenants.W010",
        )


@database("every tenant is up to date")
def migrations(tenants: Tenants) -> Findings:
    """A tenant that lacks a migration fails where the code relies on it."""
    missing = missing_migrations(tenants)
    lacks = {slug: _lack(missing[schema]) for schema, slug in tenants.items() if missing[schema] != []}
    for what, where in grouped(lacks):
        yield checks.Error(what, hint=_MIGRATE, obj=where, id="tenants.E011")


@database("no table is missing")
def missing_tables(tenants: Tenants) -> Findings:
    """Behind a tenant's missing table, the public one of that name would answer for it."""
    ready = complete(tenants)
    expected = {model._meta.db_table for model in models(settings.TENANT_APPS)}
    found = _tables(ready, expected)
    gone = {
        slug: ", ".join(sorted(expected - found[schema]))
        for schema, slug in ready.items()
        if expected - found[schema]
    }
    for what, where in grouped(gone):
        yield checks.Error(
            f"a table is missing, though its migrations are recorded: {what}",
            hint="Restore it from a backup.",
            obj=where,
            id="tenants.E012",
        )


@database("every table is in its own kind of schema")
def misplaced_tables(tenants: Tenants) -> Findings:
    """A shared table in a tenant's schema hides the real one; a tenant's in public is everybody's."""
    own = {model._meta.db_table for model in models(settings.TENANT_APPS)}
    shared = {model._meta.db_table for model in models(settings.SHARED_APPS)}
    hiding = {tenants[schema]: _listed(found) for schema, found in _tables(tenants, shared - own).items()}
    for what, where in grouped(hiding):
        yield checks.Error(
            f"tables of shared apps hide the public ones: {what}; nobody else sees what is written there",
            hint="Move their rows to the public schema, and drop them.",
            obj=where,
            id="tenants.E013",
        )
    public = get_public_schema_name()
    for found in _tables([public], own - shared).values():
        yield checks.Error(
            f"tables of tenants stand in the public schema: {_listed(found)}; a tenant that lacks one "
            "would use this one together with others",
            hint="Drop them there, after a look at what is in them.",
            id="tenants.E014",
        )


def _tables(schemas: Collection[str], names: Collection[str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for schema, table in ask(_TABLES, list(schemas), list(names)):
        found[schema].add(table)
    return found


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names))


def _lack(missing: list[str] | None) -> str:
    return f"migrations are missing: {', '.join(missing)}" if missing else "there are no tables"
