"""Finds the tenants whose due directives are not picked up, in all of them at once."""

from collections.abc import Collection
from datetime import datetime

from django.core.cache import cache
from django.utils import timezone

from directives import sql
from directives.monitoring import statistics
from fleetprompt.tenants import schemas
from fleetprompt.tenants.models import Tenant

MAX_STUCK = 11
"""How many stuck tenants are looked for: with a cluster that is down, it may be all of them."""

_CACHE_SECONDS = 30
_TABLES = ("directives_directive", "signals_signal")


def stuck_tenants() -> list[str]:
    """Return the slugs of active tenants where nothing is picked up, as of at most 30 seconds ago.

    They are the first `MAX_STUCK` in alphabetical order. Tenants that cannot be read are left out.
    """
    return list(cache.get_or_set("directives.stuck", look, _CACHE_SECONDS) or ())


def look(schema_names: Collection[str] | None = None) -> dict[str, datetime]:
    """Return those tenants, of all or of some schemas, each with the time since when its oldest waits."""
    active = Tenant.objects.filter(status=Tenant.Status.ACTIVE).order_by("slug")
    if schema_names is not None:
        active = active.filter(schema_name__in=schema_names)
    names = dict(active.values_list("schema_name", "slug"))
    late = timezone.now() - statistics.ALARM_AFTER
    # What is late may wait behind another one, so these only tell where to look closer.
    found = statistics.count(names, 1)
    suspects = [schema for schema, one in found.items() if (time := one.earliest()) and time < late]
    quiet = schemas.read_each(suspects, _TABLES, sql.HAS_NO_ACTIVITY, {"late": late})
    stuck: dict[str, datetime] = {}
    for slug in (names[schema] for schema, rows in quiet.items() if rows):
        oldest = statistics.oldest_due_in(slug)
        if oldest and timezone.now() - oldest > statistics.ALARM_AFTER:
            stuck[slug] = oldest
            if len(stuck) == MAX_STUCK:
                break
    return stuck
