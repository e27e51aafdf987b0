"""The progress of a submitted operation: kept in the cache, under a lease that its web process renews."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import cast
from uuid import UUID

from django.core.cache import cache

from directives.admin.results import Result
from fleetprompt.postgres.queries import fetch_all

KEPT_SECONDS = 3600
LEASE_SECONDS = 10
"""How long a web process may save nothing before its operation counts as stopped."""
SAVE_SECONDS = 0.5
"""How often the results so far are saved, which renews the lease."""


@dataclass
class Submission:
    """An operation that a user submitted, and its results so far.

    Args:
        ids: the directives that it is to be done to.
        batch: their correlation id, when it is to be done to a whole batch.
        lease_seconds: how long it may save nothing.
        began_at: when it was submitted, by the database's clock.
        leased_until: when it counts as stopped, by the same clock.
        results: by the directives' ids, the latest for each.
    """

    key: str
    ids: Sequence[UUID]
    reason: str
    lease_seconds: float
    began_at: datetime
    leased_until: datetime
    results: dict[UUID, Result] = field(default_factory=dict)
    batch: str = ""
    is_over: bool = False
    _saved: float = field(default_factory=time.monotonic)

    @property
    def is_at_work(self) -> bool:
        """Whether its lease says that its web process is still working on it."""
        return not self.is_over and _database_time() < self.leased_until

    @property
    def settled(self) -> int:
        """The number of directives with a final result."""
        return sum(not result.is_open for result in self.results.values())

    def note(self, result: Result) -> None:
        """Add the result of one directive."""
        self.results[result.directive_id] = result
        if time.monotonic() - self._saved >= SAVE_SECONDS:
            self._save()

    def finish(self) -> None:
        """Mark it as done."""
        self.is_over = True
        self._save()

    def _save(self) -> None:
        self.leased_until = _database_time() + timedelta(seconds=self.lease_seconds)
        cache.set(self.key, self, KEPT_SECONDS)
        self._saved = time.monotonic()


def begin(
    key: str, ids: Sequence[UUID], reason: str, *, longest_seconds: float, batch: str = ""
) -> Submission | None:
    """Keep a new submission; return None when it was submitted before.

    Args:
        longest_seconds: how long a single directive may take, besides `LEASE_SECONDS`.
    """
    now, lease_seconds = _database_time(), LEASE_SECONDS + longest_seconds
    leased_until = now + timedelta(seconds=lease_seconds)
    made = Submission(key, ids, reason, lease_seconds, now, leased_until, batch=batch)
    return made if cache.add(key, made, KEPT_SECONDS) else None


def find(key: str) -> Submission | None:
    """Return the submission; None when there was none, or it is too long ago."""
    found: Submission | None = cache.get(key)
    return found


def _database_time() -> datetime:
    # The clocks of several web servers differ.
    [(now,)] = fetch_all("SELECT clock_timestamp()")
    return cast(datetime, now)
