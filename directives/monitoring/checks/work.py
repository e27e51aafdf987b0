"""Checks that what is due in the tenants is executed."""

from django.core import checks

from directives import registry, sql
from directives.authority import permissions, roles
from directives.models import Directive
from directives.monitoring import stalled, statistics
from fleetprompt.health.checks.tables import complete
from fleetprompt.health.checkup import Findings, Tenants, Where, active, database, grouped
from fleetprompt.tenants import schemas

_MAX_COUNTED = 1_000


@database("what is due is picked up")
def due(tenants: Tenants) -> Findings:
    """The oldest directive that could start now is not minutes old."""
    for slug, oldest in stalled.look(tenants).items():
        yield checks.Error(
            f"nothing is picked up: the oldest directive is due since {oldest:%Y-%m-%d %H:%M:%S %Z}",
            hint="Start a cluster, or see what its workers do; `manage.py directive run` runs it here.",
            obj=Where([slug]),
            id="directives.E030",
        )


@database("no attempt is stalled for long")
def expired_leases(tenants: Tenants) -> Findings:
    """A worker that died leaves a lease; when it has expired, another worker takes the directive over."""
    read = statistics.count(active(tenants), _MAX_COUNTED)
    found = {tenants[schema]: one for schema, one in read.items() if one.stalled}
    if found:
        number = sum(one.stalled for one in found.values())
        oldest = min(one.earliest_lease for one in found.values() if one.earliest_lease)
        yield checks.Error(
            f"running directives are stalled: {number}, the longest since {oldest:%Y-%m-%d %H:%M:%S %Z}",
            hint="Start a cluster: its sweep has them taken over.",
            obj=Where(found),
            id="directives.E031",
        )


@database("every waiting directive has a handler")
def unknown_names(tenants: Tenants) -> Findings:
    """A name that workers do not know is retried for a while, and fails in the end."""
    values = {"known": [handler.name for handler in registry.handlers()], "limit": _MAX_COUNTED}
    found = schemas.read_each(active(tenants), ("directives_directive",), sql.UNKNOWN_NAMES, values)
    names = {
        tenants[schema]: ", ".join(sorted(name for (name,) in rows))
        for schema, rows in found.items()
        if rows
    }
    for what, where in grouped(names):
        yield checks.Warning(
            f"directives wait whose names no handler here has: {what}",
            hint="Deploy the handlers to the workers, or cancel the directives.",
            obj=where,
            id="directives.W030",
        )


@database("every directive type has its permissions")
def missing_permissions(tenants: Tenants) -> Findings:
    """They come with `migrate_schemas`, also for a new handler that has no migration."""
    ready = complete(tenants)
    wanted = {
        f"{Directive._meta.label_lower}.{permissions.codename(action, handler.name)}": handler.name
        for handler in registry.handlers()
        for action in permissions.ACTIONS
    }
    lacking = {
        ready[schema]: ", ".join(sorted({wanted[what] for what in missing if what in wanted}))
        for schema, missing in roles.missing(ready).items()
    }
    for what, where in grouped({slug: names for slug, names in lacking.items() if names}):
        yield checks.Warning(
            f"only superusers can request or operate: {what}",
            hint="Run `manage.py migrate_schemas`, which makes the permissions.",
            obj=where,
            id="directives.W031",
        )
