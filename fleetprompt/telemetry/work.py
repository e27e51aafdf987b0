"""Metrics, traces and log lines of claims and attempts; never anything of a payload."""

import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Protocol
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from fleetprompt.telemetry import context, metrics, tracing

logger = logging.getLogger(__name__)


FAILED = "failed"
"""The outcome of work that was given up."""


class Work(Protocol):
    """A piece of work: a directive."""

    id: UUID
    name: str
    attempt: int
    correlation_id: str
    scheduled_at: datetime
    metadata: Any


def claimed(directives: Sequence[Work]) -> None:
    """Measure how long directives had been due, when the claim that took them commits."""
    if metrics.is_on():
        for one in directives:
            # Another machine's clock may be behind the database's.
            waited = max((timezone.now() - one.scheduled_at).total_seconds(), 0.0)
            transaction.on_commit(partial(metrics.WAITING.add, one.name, amount=waited), robust=True)


def stalled(names: Sequence[str], given_up: Sequence[str]) -> None:
    """Count leases that expired, and the directives that ended thereby, when the claim commits.

    Args:
        names: of the directives whose leases expired.
        given_up: of those that failed.
    """
    for name in names:
        transaction.on_commit(partial(metrics.LOST_LEASES.add, name), robust=True)
    for name in given_up:
        gave_up(name)


def gave_up(name: str) -> None:
    """Count a directive that was set aside, when that commits."""
    transaction.on_commit(partial(metrics.OUTCOMES.add, name, FAILED), robust=True)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt under observation."""

    text: str
    fields: Mapping[str, str | int]
    began: float

    def ended(self, outcome: str) -> None:
        """Count and log how it ended, once that is committed."""
        tracing.note(outcome=outcome)
        self._count(outcome)
        with context.bound(**self.fields):
            logger.info("%s: %s", self.text, outcome)

    def _count(self, outcome: str) -> None:
        name = str(self.fields["name"])
        metrics.EXECUTION.add(name, amount=time.perf_counter() - self.began)
        metrics.OUTCOMES.add(name, outcome)


def ended_jointly(attempts: Sequence[Attempt], outcome: str) -> None:
    """Count each of the attempts that one transaction has committed, and log them in one line."""
    for attempt in attempts:
        attempt._count(outcome)
    if attempts:
        names = Counter(str(attempt.fields["name"]) for attempt in attempts)
        logger.info("%s together: %s", outcome, ", ".join(f"{n} {name}" for name, n in names.items()))


@contextmanager
def attempting(directive: Work, tenant: str, *, began: float | None = None) -> Iterator[Attempt]:
    """Trace and measure one attempt, and have every line logged meanwhile say what it belongs to.

    Args:
        directive: as it was claimed.
        tenant: its tenant's slug.
        began: what `time.perf_counter` gave when it began, if that was earlier.
    """
    fields: dict[str, str | int] = {
        "tenant": tenant,
        "directive": str(directive.id),
        "name": directive.name,
        "attempt": directive.attempt,
        "correlation": directive.correlation_id,
    }
    began = began or time.perf_counter()
    parent = directive.metadata if isinstance(directive.metadata, dict) else None
    with tracing.span(f"execute {directive.name}", fields, kind="CONSUMER", parent=parent):
        fields["trace"] = tracing.trace_id()
        with context.bound(**fields):
            yield Attempt(f"{directive.name} {directive.id}, attempt {directive.attempt}", fields, began)
