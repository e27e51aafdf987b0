"""Checks that each schema has its tables and migrations, and no table of the other kind."""

from collections import defaultdict
from collections.abc import Collection

from django.conf import settings
from django.core import checks
from django_tenants.utils import get_public_schema_name

from fleetprompt.health.checkup import Findings, Tenants, Where, database, grouped
from fleetprompt.postgres.queries import fetch_all
from fleetprompt.tenants.models import SCHEMA_PREFIX, Tenant
from fleetprompt.tenants.schemas import missing_migrations, models

_TABLES = "SELECT schemaname, tablename FROM pg_tables WHERE schemaname = ANY(%s) AND tablename = ANY(%s)"
_SCHEMAS = "SELECT nspname FROM pg_namespace WHERE starts_with(nspname, %s)"


def complete(tenants: Tenants) -> dict[str, str]:
    """Return the tenants that have all migrations; another check reports the others."""
    missing = missing_migrations(tenants)
    return {schema: slug for schema, slug in tenants.items() if missing[schema] == []}


@database("every tenant has its schema, and every schema its tenant")
def schemas(tenants: Tenants) -> Findings:
    """A restored backup may have one without the other."""
    existing = {name for (name,) in fetch_all(_SCHEMAS, SCHEMA_PREFIX)}
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
    """Code that relies on a missing migration fails."""
    missing = missing_migrations(tenants)
    lacks = {tenants[schema]: _listed(names or ()) for schema, names in missing.items() if names != []}
    for names, where in grouped(lacks):
        what = f"migrations are missing: {names}" if names else "there are no tables"
        yield checks.Error(what, hint="Run `manage.py migrate_schemas`.", obj=where, id="tenants.E011")


@database("no table is missing")
def missing_tables(tenants: Tenants) -> Findings:
    """Instead of a tenant's missing table, the public one of that name would be used."""
    ready = complete(tenants)
    expected = {model._meta.db_table for model in models(settings.TENANT_APPS)}
    found = _tables(ready, expected)
    gone = {slug: _listed(lost) for schema, slug in ready.items() if (lost := expected - found[schema])}
    for what, where in grouped(gone):
        yield checks.Error(
            f"a table is missing, though its migrations are recorded: {what}",
            hint="Restore it from a backup.",
            obj=where,
            id="tenants.E012",
        )


@database("every table is in its own kind of schema")
def misplaced_tables(tenants: Tenants) -> Findings:
    """A shared table in a tenant's schema hides the real one; a tenant's in public is shared by all."""
    own = {model._meta.db_table for model in models(settings.TENANT_APPS)}
    shared = {model._meta.db_table for model in models(settings.SHARED_APPS)}
    hiding = {tenants[schema]: _listed(found) for schema, found in _tables(tenants, shared - own).items()}
    for what, where in grouped(hiding):
        yield checks.Error(
            f"tables of shared apps hide the public ones: {what}; their rows stay in this tenant",
            hint="Move their rows to the public schema, and drop them.",
            obj=where,
            id="tenants.E013",
        )
    public = get_public_schema_name()
    for found in _tables([public], own - shared).values():
        yield checks.Error(
            f"tables of tenants are in the public schema: {_listed(found)}; a tenant that lacks one "
            "would use this one together with others",
            hint="Drop them there, after you have checked their rows.",
            id="tenants.E014",
        )


def _tables(schemas: Collection[str], names: Collection[str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for schema, table in fetch_all(_TABLES, list(schemas), list(names)):
        found[schema].add(table)
    return found


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names))
