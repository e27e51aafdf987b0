"""The signals of a directive's own life: `directive.requested`, `.started`, `.succeeded` and so on."""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import DatabaseError, transaction
from django.db.models import Q

from directives import failures
from directives.models import LOST_SIGNALS, Directive
from fleetprompt.telemetry import errors, metrics
from signals import bus
from signals.models import Signal
from signals.types import Actor

logger = logging.getLogger(__name__)

SOURCE = "directives"
LOST = LOST_SIGNALS


def fact(
    directive: Directive,
    name: str,
    payload: Mapping[str, Any] | None = None,
    *,
    tenant: str,
    actor: Actor | None = None,
) -> Signal:
    """Return one signal about the directive, not stored yet.

    Args:
        tenant: the active tenant's slug, part of the dedupe key.
        actor: who did it; the directive's own actor by default.
    """
    return bus.fact(
        name,
        {"name": directive.name, "attempt": directive.attempt, **(payload or {})},
        dedupe_key=f"{name}:{tenant}:{directive.id}:{directive.attempt}",
        actor=actor or directive.actor,
        subject=directive.subject,
        source=SOURCE,
        correlation_id=directive.correlation_id,
        causation_id=str(directive.id),
    )


def fact_sql(
    name: str, directive: Mapping[str, str], payload: Mapping[str, str], *, signal_id: str, tenant: str
) -> dict[str, str]:
    """Return what `fact` says as the values of `bus.insertion`, for rows of a statement.

    Args:
        directive: SQL for the columns of the directive that it speaks of.
        payload: SQL for each detail.
        signal_id: SQL for a new id.
        tenant: SQL for the active tenant's slug.
    """
    details = {"name": directive["name"], "attempt": directive["attempt"], **payload}
    pairs = ", ".join(f"'{key}', {value}" for key, value in details.items())
    taken = ("actor_type", "actor_id", "actor_label", "subject_type", "subject_id", "correlation_id")
    return {
        "id": signal_id,
        "name": f"'{name}'",
        "dedupe_key": f"'{name}:' || {tenant} || ':' || {directive['id']} || ':' || {directive['attempt']}",
        "payload": f"jsonb_build_object({pairs})",
        **{column: directive[column] for column in taken},
        "source": f"'{SOURCE}'",
        "causation_id": f"{directive['id']}::text",
    }


def repeatable(signal: Signal) -> Signal:
    """Make the dedupe key of `signal` new when a signal has it already: `:2` is added, or `:3`, and so on.

    People may snooze, cancel and rerun more than once before the next attempt, and a rerun may change
    a subject again: each time must stay on record. The caller holds the directive's row or its
    attempt, so nobody else is counting.
    """
    key = signal.dedupe_key
    earlier = Signal.objects.filter(Q(dedupe_key=key) | Q(dedupe_key__startswith=f"{key}:")).count()
    if earlier:
        signal.dedupe_key = f"{key}:{earlier + 1}"
    return signal


def write(signals: Sequence[Signal], *, again: bool = False) -> list[Signal]:
    """Store what can be stored and return what could not, so that a directive runs without its signals.

    The loss is logged and the caller notes it on the directive. What may work later (a deadlock, a
    lost connection) is raised instead: then the whole attempt is tried again.

    Args:
        again: whether an earlier attempt of the directive may have left signals with the same keys.
    """
    if not signals:
        return []
    try:
        with transaction.atomic():
            bus.record([repeatable(signal) for signal in signals] if again else signals)
    except DatabaseError as error:
        if failures.is_transient(error):
            raise
        if len(signals) == 1:
            logger.error("signal %s is lost: %s", signals[0].dedupe_key, errors.brief(error))
            metrics.FAILED_WRITES.add(signals[0].name)
            return list(signals)
        return [lost for signal in signals for lost in write([signal], again=again)]
    return []


def write_for(directives: Sequence[Directive], signals: Sequence[Signal]) -> None:
    """Store what can be stored of the signals of many directives, and note on each what could not."""
    lost = defaultdict(list)
    for signal in write(signals):
        lost[signal.causation_id].append(signal)
    for directive in directives:
        if mine := lost[str(directive.id)]:
            directive.metadata = note_lost(directive, mine)
            Directive.objects.filter(pk=directive.pk).update(metadata=directive.metadata)


def note_lost(directive: Directive, lost: Sequence[Signal]) -> dict[str, Any]:
    """Return the directive's metadata with the names of the signals that were lost added."""
    # A row that somebody has written by hand may hold any JSON.
    metadata = directive.metadata if isinstance(directive.metadata, dict) else {}
    if not lost:
        return metadata
    earlier = metadata.get(LOST)
    names = [*(earlier if isinstance(earlier, list) else []), *(signal.name for signal in lost)]
    return {**metadata, LOST: names}
