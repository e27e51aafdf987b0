"""Which tenants have work that nobody picks up, looked for in all of them at once."""

from collections.abc import Collection

from django.core.cache import cache
from django.db import DatabaseError
from django.utils import timezone

from directives.monitoring import statistics
from fleetprompt.tenants import schemas
from fleetprompt.tenants.context import UnknownTenant, in_tenant
from fleetprompt.tenants.models import Tenant

ENOUGH = 11
"""How many stuck tenants are looked for: with a cluster that is down, it may be all of them."""

_KEY = "directives.stuck"
_SECONDS = 30
_TABLES = ("directives_directive", "signals_signal")
# Whatever is late may wait behind another one, so this only tells where to look closer. Each part
# reads one end of an index.
_LATE = """
    SELECT 1 WHERE LEAST(
      (SELECT scheduled_at FROM {schema}.directives_directive WHERE status = 'requested'
       ORDER BY scheduled_at LIMIT 1),
      (SELECT lease_expires_at FROM {schema}.directives_directive WHERE status = 'running'
       ORDER BY lease_expires_at LIMIT 1)
    ) < %(late)s
"""
_QUIET = """
    SELECT 1 WHERE COALESCE(GREATEST(
      (SELECT recorded_at FROM {schema}.signals_signal WHERE name = 'directive.started'
       ORDER BY recorded_at DESC LIMIT 1),
      (SELECT completed_at FROM {schema}.directives_directive
       WHERE status = 'succeeded' AND completed_at IS NOT NULL ORDER BY completed_at DESC LIMIT 1),
      (SELECT completed_at FROM {schema}.directives_directive
       WHERE status = 'failed' AND completed_at IS NOT NULL ORDER BY completed_at DESC LIMIT 1)
    ), '-infinity') < %(late)s
"""


def stuck_tenants() -> list[str]:
    """Return the slugs of active tenants where nothing is picked up, as of at most 30 seconds ago.

    They are the first `ENOUGH` in alphabetical order. Tenants that cannot be read are left out.
    """
    slugs: list[str] | None = cache.get(_KEY)
    if slugs is None:
        slugs = look()
        cache.set(_KEY, slugs, _SECONDS)
    return slugs


def look(schema_names: Collection[str] | None = None) -> list[str]:
    """Return what `stuck_tenants` does, as of now.

    Args:
        schema_names: of the tenants to look at; all by default.
    """
    active = Tenant.objects.filter(status=Tenant.Status.ACTIVE).order_by("slug")
    if schema_names is not None:
        active = active.filter(schema_name__in=schema_names)
    names = dict(active.values_list("schema_name", "slug"))
    values = {"late": timezone.now() - statistics.PATIENCE}
    suspects: Collection[str] = names
    for select in (_LATE, _QUIET):
        found = schemas.read_each(suspects, _TABLES, select, values)
        suspects = [schema for schema, rows in found.items() if rows]
    stuck: list[str] = []
    for schema in suspects:
        if _waits(names[schema]):
            stuck.append(names[schema])
            if len(stuck) == ENOUGH:
                break
    return stuck


def _waits(slug: str) -> bool:
    try:
        with in_tenant(slug):
            oldest = statistics.oldest_due()
    except (DatabaseError, UnknownTenant):
        return False
    return oldest is not None and timezone.now() - oldest > statistics.PATIENCE
