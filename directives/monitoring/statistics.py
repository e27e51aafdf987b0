"""Statistics of directives, in a few bounded reads that scan no whole table."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from django.db import DatabaseError
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from directives import sql
from directives.lifecycle import queries
from directives.models import Directive
from fleetprompt.postgres.queries import by_index, fetch_all, quoted
from fleetprompt.tenants import schemas
from fleetprompt.tenants.context import UnknownTenant, active_schema, in_tenant
from fleetprompt.web.limits import COUNTED
from signals.models import Signal

ALARM_AFTER = timedelta(seconds=60)
"""How long something may be due, with nothing picked up, before that is an alarm."""
MAX_EXAMINED = 1_000
"""How many that are due are examined for one that does not wait for another."""

OUTCOMES = (Directive.Status.SUCCEEDED, Directive.Status.FAILED, Directive.Status.CANCELED)
CHART_HOURS = 24


class Counts(NamedTuple):
    """Directives of one tenant by status, each counted up to a limit."""

    due: int
    """Requested, and their time has come; they may wait behind another one."""
    later: int
    """Requested for a later time."""
    running: int
    stalled: int
    """Running, with a lease that expired minutes ago."""
    oldest_due: datetime | None
    """The earliest time of a requested directive, which may be in the future."""
    earliest_lease: datetime | None
    """The earliest end of a lease, which may be in the future."""

    def earliest(self) -> datetime | None:
        """Return a time that is not after the one since which any directive could be claimed."""
        return min(filter(None, (self.oldest_due, self.earliest_lease)), default=None)


def count(schema_names: Collection[str], limit: int) -> dict[str, Counts]:
    """Return the counts by schema, each up to `limit`; schemas that cannot be read are left out."""
    read = schemas.read_each(schema_names, ("directives_directive",), sql.COUNTS, {"limit": limit})
    return {schema: Counts(*rows[0]) for schema, rows in read.items() if rows}


@dataclass(frozen=True)
class Figures:
    """How many directives are in which state now. A count above `COUNTED` means "more than that"."""

    requested: int
    snoozed: int
    running: int
    failed: int
    failed_ever: int
    oldest_due: datetime | None
    """Since when the oldest one waits that a worker could start now; None when there is none."""
    is_stuck: bool
    """Whether the oldest one waits for longer than `ALARM_AFTER`, and no worker did anything since."""
    picked_up: datetime | None
    """When a worker last started one; only looked up when the oldest waits for long."""


def read() -> Figures:
    """Return the active tenant's figures."""
    now, schema = timezone.now(), quoted(active_schema())
    [row] = fetch_all(sql.COUNTS.format(schema=schema), limit=COUNTED + 1)
    found = Counts(*row)
    since = now - timedelta(hours=CHART_HOURS)
    [(failed, failed_ever)] = fetch_all(sql.COUNT_FAILED, since=since, limit=COUNTED + 1)
    oldest = oldest_due() if found.due or found.running else None
    picked_up, is_stuck = None, False
    if oldest and now - oldest > ALARM_AFTER:
        started = Signal.objects.filter(name="directive.started").order_by("-recorded_at")
        picked_up = started.values_list("recorded_at", flat=True).first()
        no_activity = sql.HAS_NO_ACTIVITY.format(schema=schema)
        is_stuck = bool(fetch_all(no_activity, late=now - ALARM_AFTER))
    return Figures(found.due, found.later, found.running, failed, failed_ever, oldest, is_stuck, picked_up)


def oldest_due() -> datetime | None:
    """Return since when the longest waiting directive could be claimed, after an expired lease too.

    Only the `MAX_EXAMINED` that wait longest are examined: behind a retry, very many may wait in one line.
    """
    waiting = Directive.objects.filter(status=Directive.Status.REQUESTED, scheduled_at__lte=Now())
    # As values, and compared here: the planner would rather test the whole backlog.
    longest = list(waiting.order_by("scheduled_at").values_list("pk", flat=True)[:MAX_EXAMINED])
    moments = list(queries.stalled().values_list("lease_expires_at", flat=True)[:1])
    if longest:
        with by_index():
            due = queries.due().filter(pk__in=longest).order_by()
            moments += due.values_list("scheduled_at", flat=True)
    return min((moment for moment in moments if moment), default=None)


def oldest_due_in(slug: str) -> datetime | None:
    """Return `oldest_due` of a tenant; None when it cannot be read, too."""
    try:
        with in_tenant(slug):
            return oldest_due()
    except (DatabaseError, UnknownTenant):
        return None


@dataclass(frozen=True)
class Hour:
    """One hour of the chart, and how many directives ended in it by outcome."""

    start: datetime
    counts: dict[str, int]

    @property
    def total(self) -> int:
        """The number of directives that ended in it."""
        return sum(self.counts.values())


def by_hour(now: datetime | None = None) -> list[Hour]:
    """Return the last 24 hours in the current time zone, that of `now` (the present one) last, by outcome.

    An hour counts up to `COUNTED` directives of each outcome.
    """
    current = timezone.localtime(now).replace(minute=0, second=0, microsecond=0)
    # Steps of real time: on the day a clock changes an hour is there twice, or missing.
    starts = [current.astimezone(UTC) - timedelta(hours=n) for n in range(CHART_HOURS - 1, -1, -1)]
    found: dict[datetime, dict[str, int]] = {start: {} for start in starts}
    rows = fetch_all(sql.COUNT_BY_HOUR, hours=starts, outcomes=list(OUTCOMES), limit=COUNTED)
    for start, status, count in rows:
        found[start][status] = count
    return [Hour(timezone.localtime(start), counts) for start, counts in found.items()]


def add_up(tenants: Sequence[Sequence[Hour]]) -> list[Hour]:
    """Return the hours of several tenants as one list; the same hours are given for each."""
    return [
        Hour(same[0].start, {outcome: sum(hour.counts[outcome] for hour in same) for outcome in OUTCOMES})
        for same in zip(*tenants, strict=True)
    ]


def sums(hours: Sequence[Hour]) -> dict[str, int]:
    """Return how many directives ended in some hours, by outcome."""
    return {outcome: sum(hour.counts[outcome] for hour in hours) for outcome in OUTCOMES}


def latest_failures(limit: int = 10) -> QuerySet[Directive]:
    """Return the directives that failed last, the newest first."""
    failed = Directive.objects.filter(status=Directive.Status.FAILED, completed_at__isnull=False)
    return failed.order_by("-completed_at")[:limit]
