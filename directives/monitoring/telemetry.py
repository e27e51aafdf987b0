"""Metrics, traces and logs of claims and attempts; never anything of a payload."""

import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from django.db import transaction
from django.utils import timezone

from directives.models import Directive
from directives.outcomes import Kind, Outcome
from fleetprompt.telemetry import context, metrics, tracing

logger = logging.getLogger(__name__)


def claimed(directives: Sequence[Directive]) -> None:
    """Measure how long directives had been due, when the claim that took them commits."""
    if directives and metrics.is_on():
        # Another machine's clock may be behind the database's.
        waited = [
            (one.name, max((timezone.now() - one.scheduled_at).total_seconds(), 0.0)) for one in directives
        ]
        transaction.on_commit(partial(_waited, waited), robust=True)


def fell_silent(directives: Sequence[Directive], given_up: Sequence[Outcome]) -> None:
    """Count leases that ran out, and the directives that ended thereby, when the claim commits."""
    names = {directive.id: directive.name for directive in directives}
    ended = [names[outcome.directive_id] for outcome in given_up]
    if names and metrics.is_on():
        transaction.on_commit(partial(_lost, list(names.values()), ended), robust=True)


def gave_up(name: str) -> None:
    """Count a directive that was set aside, when that commits."""
    transaction.on_commit(partial(metrics.OUTCOMES.add, name, Kind.FAILED), robust=True)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt under observation."""

    text: str
    fields: Mapping[str, str | int]
    began: float

    def ended(self, outcome: Kind) -> None:
        """Count and log how it ended, once that is committed."""
        tracing.note(outcome=outcome)
        self._count(outcome)
        with context.bound(**self.fields):
            logger.info("%s: %s", self.text, outcome)

    def _count(self, outcome: Kind) -> None:
        name = str(self.fields["name"])
        metrics.EXECUTION.add(name, amount=time.perf_counter() - self.began)
        metrics.OUTCOMES.add(name, outcome)


def ended_together(attempts: Sequence[Attempt], outcome: Kind) -> None:
    """Count each of the attempts that one transaction has committed, and log them in one line."""
    for attempt in attempts:
        attempt._count(outcome)
    if attempts:
        names = Counter(str(attempt.fields["name"]) for attempt in attempts)
        logger.info("%s together: %s", outcome, ", ".join(f"{n} {name}" for name, n in names.items()))


@contextmanager
def attempting(directive: Directive, tenant: str, *, began: float | None = None) -> Iterator[Attempt]:
    """Trace and measure one attempt, and have every line logged meanwhile say what it belongs to.

    Args:
        directive: as it was claimed.
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
            yield Attempt(f"{directive}, attempt {directive.attempt}", fields, began)


def _waited(waited: Iterable[tuple[str, float]]) -> None:
    for name, seconds in waited:
        metrics.WAITING.add(name, amount=seconds)


def _lost(silent: Iterable[str], ended: Iterable[str]) -> None:
    for name in silent:
        metrics.LOST_LEASES.add(name)
    for name in ended:
        metrics.OUTCOMES.add(name, Kind.FAILED)
