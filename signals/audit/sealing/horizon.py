"""Horizon: the time before which no signal can still commit. Emitters never wait for it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fleetprompt.postgres.queries import fetch_all
from signals import sql

MAX_AHEAD = timedelta(minutes=1)
"""How far the database's clock may be ahead of this machine's; beyond it, one of them is wrong."""


@dataclass(frozen=True, slots=True)
class Horizon:
    """The completeness of the signals that a statement sees.

    Args:
        now: the database's clock.
        at: every signal recorded before it is visible to a statement that starts from now on; None
            when that cannot be known.
        obstacle: why it cannot, in words.
    """

    now: datetime
    at: datetime | None
    obstacle: str = ""


def look() -> Horizon:
    """Return the horizon for a statement that the caller starts after this returns.

    `recorded_at` is the clock at the insert itself. PostgreSQL shows a transaction with its start in
    `pg_stat_activity` before the transaction runs anything. So a signal recorded before `now` that a later
    statement cannot see belongs to a transaction that was in flight when the activity was read, and that
    started no later than the signal. No signal recorded before the lesser of both times is missed. This
    depends on the order of the statements, on a snapshot for each (READ COMMITTED), and on a clock that
    does not step backwards.
    """
    now = clock()
    ahead = now - datetime.now(UTC)
    fetch_all(sql.FORGET_ACTIVITY)
    [[oldest, hidden, disabled]] = fetch_all(sql.ACTIVITY)
    # A prepared transaction leaves the activity only after it is listed here.
    [[prepared]] = fetch_all(sql.PREPARED)
    if ahead > MAX_AHEAD:
        # A horizon that has not come yet could only be taken back, on the record.
        seconds = f"{ahead.total_seconds():.0f} seconds"
        obstacle = f"the database's clock is {seconds} ahead of this machine's; set both by NTP"
    elif hidden:
        text = "database sessions of other roles are hidden from this one"
        obstacle = f"{hidden} {text}; GRANT pg_read_all_stats to it"
    elif disabled:
        obstacle = f"{disabled} database sessions run with track_activities off"
    elif prepared:
        obstacle = f"{prepared} prepared transactions wait for their end (pg_prepared_xacts)"
    else:
        return Horizon(now, min(now, oldest or now))
    return Horizon(now, None, obstacle)


def clock() -> datetime:
    """Return the database's clock."""
    now: datetime
    [[now]] = fetch_all(sql.CLOCK)
    return now
