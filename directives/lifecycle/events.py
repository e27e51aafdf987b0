"""The signals of a directive's own life: `directive.requested`, `.started`, `.succeeded` and so on."""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import DatabaseError, transaction

from directives.executing import failures
from directives.models import LOST_SIGNALS, Directive
from fleetprompt.telemetry import errors, metrics
from signals import bus
from signals.models import Signal
from signals.types import Actor, bounded_key

logger = logging.getLogger(__name__)

SOURCE = "directives"


def fact(
    directive: Directive,
    name: str,
    payload: Mapping[str, Any] | None = None,
    *,
    tenant: str,
    actor: Actor | None = None,
    number: int = 1,
) -> Signal:
    """Return one signal about the directive, not stored yet.

    Args:
        tenant: the active tenant's slug, part of the dedupe key.
        actor: who did it; the directive's own actor by default.
        number: tells apart those of one name and attempt.
    """
    return bus.fact(
        name,
        {"name": directive.name, "attempt": directive.attempt, **(payload or {})},
        dedupe_key=numbered(f"{name}:{tenant}:{directive.id}:{directive.attempt}", number),
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


def numbered(key: str, number: int) -> str:
    """Return the dedupe key of the `number`th signal of its kind; from the second on, it ends in that.

    People may snooze, cancel and rerun more than once before the next attempt, and a rerun may change
    a subject again: each time must stay on record.

    Args:
        key: of the first one.
        number: from a counter in the directive's row; a count of signals goes back when some are pruned.
    """
    return bounded_key(f"{key}:{number}" if number > 1 else key)


def number_after(first: Signal) -> int:
    """Return the number after the highest of those stored of one kind, of which `first` is number 1."""
    stored = Signal.objects.filter(causation_id=first.causation_id, name=first.name)
    keys = stored.values_list("dedupe_key", flat=True)
    ends = ["1" if key == first.dedupe_key else key.removeprefix(f"{first.dedupe_key}:") for key in keys]
    return 1 + max([int(end) for end in ends if end.isdecimal()], default=0)


def write(signals: Sequence[Signal]) -> list[Signal]:
    """Store what can be stored and return what could not, so that a directive runs without its signals.

    The loss is logged and counted, and the caller notes it on the directive. What may work later (a
    deadlock, a lost connection) is raised instead: then the whole attempt is tried again.
    """
    if not signals:
        return []
    try:
        with transaction.atomic():
            lost, why = bus.store(signals), "its key is taken, or the database left it out"
    except DatabaseError as error:
        if failures.is_transient(error):
            raise
        if len(signals) > 1:
            return [lost for signal in signals for lost in write([signal])]
        lost, why = list(signals), errors.brief(error)
    for signal in lost:
        logger.error("signal %s is lost: %s", signal.dedupe_key, why)
        metrics.FAILED_WRITES.add(signal.name)
    return lost


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
    return {**metadata, LOST_SIGNALS: [*noted_lost(directive), *(signal.name for signal in lost)]}


def noted_lost(directive: Directive) -> list[Any]:
    """Return what `note_lost` has noted: names, unless somebody else wrote there."""
    metadata = directive.metadata
    names = metadata.get(LOST_SIGNALS) if isinstance(metadata, dict) else None
    return names if isinstance(names, list) else []
