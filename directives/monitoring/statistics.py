"""How the active tenant's directives fare, in a few bounded reads that need no scan of a whole table."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from directives.lifecycle import transitions
from directives.models import Directive
from fleetprompt.postgres.queries import by_index
from fleetprompt.web.limits import COUNTED
from signals.models import Signal

PATIENCE = timedelta(seconds=60)
"""How long something may be due, with nothing picked up, before that is an alarm."""

LOOKED_AT = 1_000
"""How many that are due are looked at for one that does not wait for another."""

OUTCOMES = (Directive.Status.SUCCEEDED, Directive.Status.FAILED, Directive.Status.CANCELED)
HOURS = 24

# Each part reads one index in its order, up to a limit: a table full of one status costs no more.
_COUNTS = """
    SELECT
      (SELECT count(*) FROM (
         SELECT FROM directives_directive WHERE status = 'requested' AND scheduled_at <= %(now)s
         ORDER BY scheduled_at LIMIT %(limit)s) AS rows),
      (SELECT count(*) FROM (
         SELECT FROM directives_directive WHERE status = 'requested' AND scheduled_at > %(now)s
         ORDER BY scheduled_at LIMIT %(limit)s) AS rows),
      (SELECT count(*) FROM (
         SELECT FROM directives_directive WHERE status = 'running'
         ORDER BY lease_expires_at LIMIT %(limit)s) AS rows),
      (SELECT count(*) FROM (
         SELECT FROM directives_directive WHERE status = 'failed' AND completed_at >= %(since)s
         ORDER BY completed_at DESC LIMIT %(limit)s) AS rows),
      (SELECT count(*) FROM (
         SELECT FROM directives_directive WHERE status = 'failed' AND completed_at IS NOT NULL
         ORDER BY completed_at DESC LIMIT %(limit)s) AS rows)
"""
_BY_HOUR = """
    SELECT hour, status, (SELECT count(*) FROM (
        SELECT FROM directives_directive
        WHERE status = wanted.status AND completed_at >= hour AND completed_at < hour + interval '1 hour'
        ORDER BY completed_at LIMIT %(limit)s) AS rows)
    FROM unnest(%(hours)s::timestamptz[]) AS hour, unnest(%(outcomes)s::text[]) AS wanted (status)
"""


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
    """Whether the oldest one waits for longer than `PATIENCE`, and no worker did anything since."""
    picked_up: datetime | None
    """When a worker last started one; only looked up when the oldest waits for long."""


def read() -> Figures:
    """Return the active tenant's figures."""
    now = timezone.now()
    values: dict[str, Any] = {"now": now, "since": now - timedelta(hours=24), "limit": COUNTED + 1}
    with connection.cursor() as cursor:
        cursor.execute(_COUNTS, values)
        requested, snoozed, running, failed, failed_ever = cursor.fetchone()
    oldest = oldest_due() if requested or running else None
    late = oldest is not None and now - oldest > PATIENCE
    picked_up = _last_picked_up() if late else None
    is_stuck = late and not _is_recent(picked_up, now) and not _has_completed_since(now - PATIENCE)
    return Figures(requested, snoozed, running, failed, failed_ever, oldest, is_stuck, picked_up)


def oldest_due() -> datetime | None:
    """Return since when the longest waiting directive could be claimed, one that fell silent included.

    Only the `LOOKED_AT` that wait longest are looked at: behind a retry, very many may wait in one line.
    """
    waiting = Directive.objects.filter(status=Directive.Status.REQUESTED, scheduled_at__lte=Now())
    # As values, and compared here: the planner would rather test the whole backlog.
    longest = list(waiting.order_by("scheduled_at").values_list("pk", flat=True)[:LOOKED_AT])
    moments = list(transitions.silent().values_list("lease_expires_at", flat=True)[:1])
    if longest:
        with by_index():
            due = transitions.due().filter(pk__in=longest).order_by()
            moments += due.values_list("scheduled_at", flat=True)
    return min((moment for moment in moments if moment), default=None)


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
    """Return the last 24 hours in the current time zone, the one that runs last, by outcome.

    An hour counts up to `COUNTED` directives of each outcome.

    Args:
        now: which hour runs; by default the present one.
    """
    current = timezone.localtime(now).replace(minute=0, second=0, microsecond=0)
    # Steps of real time: on the day a clock changes an hour is there twice, or missing.
    starts = [current.astimezone(UTC) - timedelta(hours=n) for n in range(HOURS - 1, -1, -1)]
    found: dict[datetime, dict[str, int]] = {start: {} for start in starts}
    with connection.cursor() as cursor:
        cursor.execute(_BY_HOUR, {"hours": starts, "outcomes": list(OUTCOMES), "limit": COUNTED})
        for start, status, count in cursor.fetchall():
            found[start][status] = count
    return [Hour(timezone.localtime(start), counts) for start, counts in found.items()]


def together(tenants: Sequence[Sequence[Hour]]) -> list[Hour]:
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


def _last_picked_up() -> datetime | None:
    started = Signal.objects.filter(name="directive.started").order_by("-recorded_at")
    return started.values_list("recorded_at", flat=True).first()


def _has_completed_since(since: datetime) -> bool:
    """Return whether a worker ended one: what waited behind it is due only from then on."""
    return any(
        Directive.objects.filter(status=status, completed_at__gte=since).exists()
        for status in (Directive.Status.SUCCEEDED, Directive.Status.FAILED)
    )


def _is_recent(moment: datetime | None, now: datetime) -> bool:
    return moment is not None and now - moment <= PATIENCE
