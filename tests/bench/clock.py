"""Commit times from PostgreSQL's own records, and waiting until work is done."""

import time
from collections.abc import Iterable, Sequence
from datetime import datetime

from tests.bench.world import World

UNFINISHED = "SELECT EXISTS (SELECT FROM directives_directive WHERE status IN ('requested', 'running'))"
_REQUESTED = """
SELECT min(pg_xact_commit_timestamp(xmin)) FROM signals_signal
WHERE correlation_id = %s AND name = 'directive.requested'
"""
_STARTED = """
SELECT min(pg_xact_commit_timestamp(xmin)) FROM signals_signal
WHERE correlation_id = %s AND name = 'directive.started'
"""
_ENDED = """
SELECT max(pg_xact_commit_timestamp(xmin)), count(*) FILTER (WHERE status = 'succeeded'), count(*)
FROM directives_directive WHERE correlation_id = %s
"""


class Unsound(Exception):
    """What was to be measured did not do what it should have done, so that its time means nothing."""


def wait_until_drained(world: World, slugs: Sequence[str], seconds: float = 900) -> None:
    """Return when no directive of the tenants waits or runs.

    Raises:
        Unsound: some still do after `seconds`.
    """
    deadline = time.monotonic() + seconds
    left = list(slugs)
    while left:
        if not world.execute_in(left[-1], UNFINISHED)[0][0]:
            left.pop()
        elif time.monotonic() > deadline:
            raise Unsound(f"tenant {left[-1]} is not drained after {seconds} s")
        else:
            time.sleep(0.1)


def requested_at(world: World, slug: str, batch: str) -> datetime:
    """Return when the first request of a batch was committed.

    Args:
        batch: the correlation id.
    """
    return world.execute_in(slug, _REQUESTED, batch)[0][0]


def started_at(world: World, slugs: Iterable[str], batch: str) -> datetime:
    """Return when the first claim of a batch was committed."""
    return min(world.execute_in(slug, _STARTED, batch)[0][0] for slug in slugs)


def ended_at(world: World, slugs: Iterable[str], batch: str, expected: int) -> datetime:
    """Return when the last directive of a batch was committed as done.

    Raises:
        Unsound: not every one of the `expected` directives succeeded.
    """
    rows = [world.execute_in(slug, _ENDED, batch)[0] for slug in slugs]
    succeeded, found = sum(row[1] for row in rows), sum(row[2] for row in rows)
    if not succeeded == found == expected:
        raise Unsound(f"{succeeded} of {found} directives succeeded; expected {expected}")
    return max(row[0] for row in rows)


def committed_at(world: World, xids: Sequence[str]) -> list[float]:
    """Return when the transactions were committed, in seconds since the epoch."""
    statement = (
        "SELECT extract(epoch FROM pg_xact_commit_timestamp(xid::xid8::xid))::float"
        " FROM unnest(%s::text[]) WITH ORDINALITY AS asked (xid, number) ORDER BY number"
    )
    return [at for [at] in world.execute(statement, list(xids))]


def rate(count: int, begin: datetime, end: datetime) -> float:
    """Return how many there were in a second."""
    return count / (end - begin).total_seconds()
