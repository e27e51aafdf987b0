"""Checks that code in a tenant reaches no other tenant."""

from itertools import islice

from django.core import checks
from django_tenants.utils import get_public_schema_name

from fleetprompt.health.checkup import Findings, Tenants, Where, database
from fleetprompt.postgres.queries import fetch_all
from fleetprompt.tenants.context import UnknownTenant, active_schema, in_tenant
from fleetprompt.tenants.models import SCHEMA_PREFIX

_MAX_ENTERED = 10
"""The most tenants that are entered: the code is the same for all, and there may be thousands."""

_SCHEMAS = "SELECT nspname FROM pg_namespace"
_PATH = "SELECT current_schemas(false)"
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


@database("tenants are entered and left cleanly")
def context(tenants: Tenants) -> Findings:
    """Inside, names mean the tenant's own tables; outside, the public ones."""
    public = get_public_schema_name()
    existing = {name for (name,) in fetch_all(_SCHEMAS)}
    for schema, slug in islice(tenants.items(), _MAX_ENTERED):
        if schema not in existing:
            continue
        try:
            with in_tenant(slug):
                inside = _path()
        except UnknownTenant:
            # The tenant was deleted meanwhile.
            continue
        if inside[:1] != [schema] or _others(inside[1:]):
            yield _leak(slug, f"inside, the search_path is {', '.join(inside)}", "tenants.E002")
        outside = _path()
        if active_schema() != public or outside[:1] != [public] or _others(outside):
            yield _leak(slug, f"after it was left, the search_path is {', '.join(outside)}", "tenants.E003")


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


def _path() -> list[str]:
    [(found,)] = fetch_all(_PATH)
    return [str(name) for name in found]


def _others(schemas: list[str]) -> list[str]:
    return [schema for schema in schemas if schema.startswith(SCHEMA_PREFIX)]


def _leak(slug: str, what: str, number: str) -> checks.Error:
    return checks.Error(
        what,
        hint="Look for PG_EXTRA_SEARCH_PATHS, and for a pooler before the database.",
        obj=Where([slug]),
        id=number,
    )
