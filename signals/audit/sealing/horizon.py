"""Up to which moment a seal is complete, although no emitter ever waits for it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db import connection

AHEAD = timedelta(minutes=1)
"""How far the database's clock may be ahead of this machine's; beyond it, one of them is wrong."""

_NOW = "SELECT clock_timestamp()"
# Sessions of people and programs; an autovacuum worker has no user and inserts nothing.
_SESSIONS = """
    SELECT min(xact_start),
        count(*) FILTER (WHERE query = '<insufficient privilege>'),
        count(*) FILTER (WHERE state = 'disabled')
    FROM pg_stat_activity
    WHERE datname = current_database() AND usesysid IS NOT NULL AND pid <> pg_backend_pid()
"""
_PREPARED = "SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()"


@dataclass(frozen=True, slots=True)
class Horizon:
    """What can be told about transactions in flight.

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

    `recorded_at` is the clock at the insert itself, in a transaction that PostgreSQL had already shown
    with its start in `pg_stat_activity`: it does so before a transaction runs anything. A signal
    recorded before `now` that a later statement cannot see belongs to a transaction that was in flight
    when the activity was read, and its start is not after the signal. So nothing recorded before the
    least of both moments is missed. The order of the statements is what this rests on, and that each
    has a snapshot of its own (READ COMMITTED). A clock that steps backwards breaks it.
    """
    with connection.cursor() as cursor:
        now = clock()
        ahead = now - datetime.now(UTC)
        # A transaction that has read the activity before would be shown the same again.
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(_SESSIONS)
        oldest, hidden, disabled = cursor.fetchone()
        # What is prepared leaves the activity only after it is listed here.
        cursor.execute(_PREPARED)
        [prepared] = cursor.fetchone()
        if obstacle := _obstacle(ahead, hidden, disabled, prepared):
            return Horizon(now, None, obstacle)
        return Horizon(now, min(now, oldest or now))


def clock() -> datetime:
    """Return the database's clock."""
    with connection.cursor() as cursor:
        cursor.execute(_NOW)
        [now] = cursor.fetchone()
    found: datetime = now
    return found


def _obstacle(ahead: timedelta, hidden: int, disabled: int, prepared: int) -> str:
    if ahead > AHEAD:
        # A horizon that has not come yet could only be taken back, on the record.
        return (
            f"the database's clock is {ahead.total_seconds():.0f} seconds ahead of this machine's; "
            "set both by NTP"
        )
    if hidden:
        return (
            f"{hidden} database sessions of other roles are hidden from this one; "
            "GRANT pg_read_all_stats to it"
        )
    if disabled:
        return f"{disabled} database sessions run with track_activities off"
    if prepared:
        return f"{prepared} prepared transactions wait for their end (pg_prepared_xacts)"
    return ""
