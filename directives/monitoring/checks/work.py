"""Whether what is due in the tenants is executed."""

from datetime import timedelta

from django.core import checks
from django.utils import timezone

from directives import registry
from directives.authority import permissions
from directives.monitoring import stalled, statistics
from fleetprompt.health.checks.tables import complete
from fleetprompt.health.checkup import Findings, Tenants, Where, active, database, grouped
from fleetprompt.tenants import schemas
from fleetprompt.tenants.context import in_tenant

SILENT = timedelta(minutes=5)
"""How long ago a lease may have run out: the sweep brings it back within two minutes."""

_LOOKED_AT = 1_000
_TABLES = ("directives_directive",)
_SILENT = """
    SELECT count(*), min(lease_expires_at) FROM (
      SELECT lease_expires_at FROM {schema}.directives_directive
      WHERE status = 'running' AND lease_expires_at < %(silent)s ORDER BY lease_expires_at LIMIT %(limit)s
    ) AS rows HAVING count(*) > 0
"""
_UNKNOWN = """
    SELECT DISTINCT name FROM (
      SELECT name FROM {schema}.directives_directive WHERE status = 'requested'
      ORDER BY scheduled_at LIMIT %(limit)s
    ) AS rows WHERE name <> ALL(%(known)s)
"""
_PERMISSIONS = """
    SELECT codename FROM {schema}.auth_permission AS permission
    JOIN {schema}.django_content_type AS type ON type.id = permission.content_type_id
    WHERE type.app_label = 'directives' AND type.model = 'directive'
"""


@database("what is due is picked up")
def due(tenants: Tenants) -> Findings:
    """The oldest directive that could start now is not minutes old."""
    for slug in stalled.look(tenants):
        with in_tenant(slug):
            oldest = statistics.oldest_due()
        if oldest:
            yield checks.Error(
                f"nothing is picked up: the oldest directive is due since {oldest:%Y-%m-%d %H:%M:%S %Z}",
                hint="Start a cluster, or see what its workers do; `manage.py directive run` runs it here.",
                obj=Where([slug]),
                id="directives.E030",
            )


@database("no attempt is silent for long")
def silent(tenants: Tenants) -> Findings:
    """A worker that died leaves a lease, which another one takes over when it has run out."""
    values = {"silent": timezone.now() - SILENT, "limit": _LOOKED_AT}
    read = schemas.read_each(active(tenants), _TABLES, _SILENT, values)
    found = {tenants[schema]: rows[0] for schema, rows in read.items() if rows}
    if found:
        number = sum(count for count, _ in found.values())
        oldest = min(moment for _, moment in found.values())
        yield checks.Error(
            f"running directives are silent: {number}, the longest since {oldest:%Y-%m-%d %H:%M:%S %Z}",
            hint="Start a cluster: its sweep has them taken over.",
            obj=Where(found),
            id="directives.E031",
        )


@database("every waiting directive has a handler")
def unknown_names(tenants: Tenants) -> Findings:
    """A name that workers do not know is retried for a while, and fails in the end."""
    values = {"known": [handler.name for handler in registry.handlers()], "limit": _LOOKED_AT}
    found = schemas.read_each(active(tenants), _TABLES, _UNKNOWN, values)
    names = {
        tenants[schema]: ", ".join(sorted(name for (name,) in rows))
        for schema, rows in found.items()
        if rows
    }
    for what, where in grouped(names):
        yield checks.Warning(
            f"directives wait whose names nobody here knows: {what}",
            hint="Deploy the handlers to the workers, or cancel the directives.",
            obj=where,
            id="directives.W030",
        )


@database("every directive type has its permissions")
def missing_permissions(tenants: Tenants) -> Findings:
    """They come with `migrate_schemas`, also for a new handler that has no migration."""
    ready = complete(tenants)
    wanted = {
        permissions.codename(action, handler.name): handler.name
        for handler in registry.handlers()
        for action in permissions.ACTIONS
    }
    found = schemas.read_each(ready, ("auth_permission", "django_content_type"), _PERMISSIONS)
    lacking = {
        ready[schema]: ", ".join(
            sorted({wanted[name] for name in wanted.keys() - {name for (name,) in rows}})
        )
        for schema, rows in found.items()
        if rows is not None
    }
    for what, where in grouped({slug: names for slug, names in lacking.items() if names}):
        yield checks.Warning(
            f"nobody but superusers can request or look after: {what}",
            hint="Run `manage.py migrate_schemas`, which makes the permissions.",
            obj=where,
            id="directives.W031",
        )
