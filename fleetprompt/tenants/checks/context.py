"""Whether code that enters a tenant sees that tenant only, and leaves it behind."""

from itertools import islice
from typing import Any

from django.conf import settings
from django.core import checks
from django.db import connection as _django_connection
from django_tenants.utils import get_public_schema_name

from fleetprompt.health.checkup import Findings, Tenants, Where, ask, database, setting
from fleetprompt.tenants.context import UnknownTenant, active_schema, in_tenant
from fleetprompt.tenants.models import SCHEMA_PREFIX

connection: Any = _django_connection

_ENTERED = 10
"""How many tenants are entered: the way in is the same for all, and there may be thousands."""


@setting("every statement says whose it is")
def search_path() -> Findings:
    """What some code sets for its session must not stay for the next one's statements."""
    if getattr(settings, "TENANT_LIMIT_SET_CALLS", False):
        yield checks.Error(
            "TENANT_LIMIT_SET_CALLS is on: a search_path that is lost or changed on the way stays so, and "
            "one tenant's work runs in another's schema",
            hint="Set TENANT_LIMIT_SET_CALLS = False.",
            id="tenants.E001",
        )


@database("tenants are entered and left cleanly")
def context(tenants: Tenants) -> Findings:
    """Inside, names lead to the tenant's own tables; outside, to the public ones."""
    public = get_public_schema_name()
    existing = {name for (name,) in ask("SELECT nspname FROM pg_namespace")}
    for schema, slug in islice(tenants.items(), _ENTERED):
        if schema not in existing:
            continue
        try:
            with in_tenant(slug):
                inside = _path()
        except UnknownTenant:
            # It was deleted since the tenants were read.
            continue
        if inside[:1] != [schema] or _others(inside[1:]):
            yield _leak(slug, f"inside, the search_path is {', '.join(inside)}", "tenants.E002")
        outside = _path()
        if active_schema() != public or outside[:1] != [public] or _others(outside):
            yield _leak(slug, f"after it was left, the search_path is {', '.join(outside)}", "tenants.E003")


@database("tables of one schema refer to no other")
def references(tenants: Tenants) -> Findings:
    """A row that refers to another schema's says something about another tenant's, or wrong people."""
    rows = ask(
        "SELECT source.nspname, conname, target.nspname FROM pg_constraint"
        " JOIN pg_class ON pg_class.oid = confrelid"
        " JOIN pg_namespace source ON source.oid = connamespace"
        " JOIN pg_namespace target ON target.oid = pg_class.relnamespace"
        " WHERE contype = 'f' AND source.oid <> target.oid"
        " AND (source.nspname = ANY(%s) OR target.nspname = ANY(%s)) ORDER BY 1, 2",
        list(tenants),
        list(tenants),
    )
    for source, name, target in rows:
        yield checks.Error(
            f"the foreign key {source}.{name} leads into the schema {target}",
            hint="Drop it, and make it again inside its own schema.",
            obj=Where([tenants.get(source) or tenants[target]]),
            id="tenants.E004",
        )


def _path() -> list[str]:
    [(found,)] = ask("SELECT current_schemas(false)")
    return [str(name) for name in found]


def _others(schemas: list[str]) -> list[str]:
    return [schema for schema in schemas if schema.startswith(SCHEMA_PREFIX)]


def _leak(slug: str, what: str, number: str) -> checks.Error:
    return checks.Error(
        what,
        hint="Look for PG_EXTRA_SEARCH_PATHS, TENANT_LIMIT_SET_CALLS, and a pooler before the database.",
        obj=Where([slug]),
        id=number,
    )
