"""Finds the tenants whose due directives are not picked up, in all of them at once."""

from collections.abc import Collection

from django.core.cache import cache
from django.utils import timezone

from directives import sql
from directives.monitoring import counts, statistics
from fleetprompt.tenants import schemas
from fleetprompt.tenants.models import Tenant

MAX_STUCK = 11
"""How many stuck tenants are looked for: with a cluster that is down, it may be all of them."""

_KEY = "directives.stuck"
_CACHE_SECONDS = 30
_TABLES = ("directives_directive", "signals_signal")


def stuck_tenants() -> list[str]:
    """Return the slugs of active tenants where nothing is picked up, as of at most 30 seconds ago.

    They are the first `MAX_STUCK` in alphabetical order. Tenants that cannot be read are left out.
    """
    slugs: list[str] | None = cache.get(_KEY)
    if slugs is None:
        slugs = look()
        cache.set(_KEY, slugs, _CACHE_SECONDS)
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
    late = timezone.now() - statistics.ALARM_AFTER
    # What is late may wait behind another one, so these only tell where to look closer.
    found = counts.of_schemas(names, 1)
    suspects = [schema for schema, one in found.items() if (time := one.earliest()) and time < late]
    quiet = schemas.read_each(suspects, _TABLES, sql.HAS_NO_ACTIVITY, {"late": late})
    stuck: list[str] = []
    for schema in (schema for schema, rows in quiet.items() if rows):
        oldest = statistics.oldest_due_in(names[schema])
        if oldest and timezone.now() - oldest > statistics.ALARM_AFTER:
            stuck.append(names[schema])
            if len(stuck) == MAX_STUCK:
                break
    return stuck
