"""Stores lifecycle signals although some cannot be stored, and notes the lost ones on their directives."""

import logging
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from django.db import DatabaseError, transaction

from directives.models import LOST_SIGNALS, Directive
from fleetprompt.postgres import outages
from fleetprompt.telemetry import errors, metrics
from signals import bus
from signals.models import Signal
from signals.types import as_object

logger = logging.getLogger(__name__)


def write_for(directives: Sequence[Directive], signals: Sequence[Signal]) -> None:
    """Store what can be stored of the signals of directives, and note on each directive what could not."""
    lost = defaultdict(list)
    for signal in write(signals):
        lost[signal.causation_id].append(signal)
    for directive in directives:
        if mine := lost[str(directive.id)]:
            directive.metadata = note_lost(directive, mine)
            Directive.objects.filter(pk=directive.pk).update(metadata=directive.metadata)


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
        if outages.is_transient(error):
            raise
        if len(signals) > 1:
            return [lost for signal in signals for lost in write([signal])]
        lost, why = list(signals), errors.brief(error)
    for signal in lost:
        logger.error("signal %s is lost: %s", signal.dedupe_key, why)
        metrics.FAILED_WRITES.add(signal.name)
    return lost


def note_lost(directive: Directive, lost: Sequence[Signal]) -> dict[str, Any]:
    """Return the directive's metadata with the names of the signals that were lost added."""
    metadata = as_object(directive.metadata)
    if not lost:
        return metadata
    return {**metadata, LOST_SIGNALS: [*noted_lost(directive), *(signal.name for signal in lost)]}


def noted_lost(directive: Directive) -> list[Any]:
    """Return what `note_lost` has noted: names, unless something else was written there."""
    names = as_object(directive.metadata).get(LOST_SIGNALS)
    return names if isinstance(names, list) else []
