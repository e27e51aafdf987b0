"""Counts what is due, later, running and stalled: one query for figures, gauges, alarms and checks."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.utils import timezone

from directives import sql
from fleetprompt.postgres.queries import fetch_all, quoted
from fleetprompt.tenants import schemas
from fleetprompt.tenants.context import active_schema

STALLED_AFTER = timedelta(minutes=5)
"""How long ago a lease may have expired: the sweep brings its directive back within two minutes."""


class Counts(NamedTuple):
    """Directives of one tenant by status, each counted up to a limit."""

    due: int
    """Requested, and their time has come; they may wait behind another one."""
    later: int
    """Requested for a later time."""
    running: int
    stalled: int
    """Running, with a lease that expired longer than `STALLED_AFTER` ago."""
    oldest_due: datetime | None
    """The earliest time of a requested directive, which may be in the future."""
    earliest_lease: datetime | None
    """The earliest end of a lease, which may be in the future."""

    def earliest(self) -> datetime | None:
        """Return a time that is not after the one since which any directive could be claimed."""
        return min(filter(None, (self.oldest_due, self.earliest_lease)), default=None)


def of_active_tenant(limit: int) -> Counts:
    """Return the counts of the active tenant, each up to `limit`."""
    [row] = fetch_all(sql.COUNTS.format(schema=quoted(active_schema())), **_values(limit))
    return Counts(*row)


def of_schemas(names: Collection[str], limit: int) -> dict[str, Counts]:
    """Return the counts by schema, each up to `limit`; schemas that cannot be read are left out."""
    read = schemas.read_each(names, ("directives_directive",), sql.COUNTS, _values(limit))
    return {schema: Counts(*rows[0]) for schema, rows in read.items() if rows}


def _values(limit: int) -> dict[str, Any]:
    now = timezone.now()
    return {"now": now, "stalled": now - STALLED_AFTER, "limit": limit}
