"""Results of operations on directives, brought up to date with what happened to each directive since."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models.functions import Now

from directives.models import Directive
from signals.models import Signal

LEFT = "Left to the cluster"
"""The word for those that nothing is known of yet but that they are due."""

_Status = Directive.Status
_DONE_BY = {
    "directive.canceled": "canceled it",
    "directive.snoozed": "snoozed it",
    "directive.run_requested": "had it run now",
    "directive.rerun_requested": "had it rerun",
}
"""What the signals of people's operations say of who is behind them."""
_RAN = ("directive.run_requested", "directive.rerun_requested")
_LED_TO: dict[str, Collection[str]] = {
    _Status.REQUESTED: ("directive.snoozed", "directive.rerun_requested"),
    _Status.CANCELED: ("directive.canceled",),
}
"""By which operations of people a status may have come about, where not by `_RAN`."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one directive.

    Args:
        directive_id: which one.
        word: the outcome, the same for all that ended like this.
        tone: how the word is coloured.
        text: what else there is to say.
        by: who brought the directive into its state, as a sentence; empty when no person did.
    """

    directive_id: UUID
    word: str
    tone: str
    text: str = ""
    by: str = ""

    @property
    def is_open(self) -> bool:
        """Whether nothing is known but that the cluster runs it."""
        return self.word == LEFT


def up_to_date(results: Collection[Result]) -> list[Result]:
    """Return the results, with what has become by now of those that were left to the cluster."""
    left = [result.directive_id for result in results if result.is_open]
    directives = Directive.objects.annotate(now=Now()).in_bulk(left)
    people = _people(list(directives.values()))
    return [
        _what_became(result, directives.get(result.directive_id), people.get(result.directive_id))
        if result.is_open
        else result
        for result in results
    ]


def by_whom(directive: Directive) -> str:
    """Return as a sentence who brought a directive into its status; empty when no person did."""
    return _sentence(_people([directive]).get(directive.pk))


def _people(directives: Sequence[Directive]) -> dict[UUID, Signal]:
    """Return, of each directive that a person brought into its status, the signal that tells of it."""
    wanted = {str(directive.pk): _LED_TO.get(directive.status, _RAN) for directive in directives}
    signals = Signal.objects.filter(causation_id__in=list(wanted), name__in=list(_DONE_BY))
    return {
        UUID(signal.causation_id): signal
        for signal in signals.order_by("recorded_at", "id")
        if signal.name in wanted[signal.causation_id]
    }


def _sentence(signal: Signal | None) -> str:
    return f"{signal.actor} {_DONE_BY[signal.name]}." if signal else ""


def _what_became(result: Result, directive: Any, signal: Signal | None) -> Result:
    pk, by = result.directive_id, _sentence(signal)
    if directive is None:
        return Result(pk, "Not found", "bad", "There is no such directive any more.")
    match directive.status:
        case _Status.SUCCEEDED:
            return Result(pk, "Succeeded", "good", "A worker ran it.", by)
        case _Status.FAILED:
            return Result(pk, "Failed", "bad", directive.last_error, by)
        case _Status.CANCELED:
            return Result(pk, "Canceled", "warn", "It did not run.", by)
        case _Status.RUNNING:
            return Result(pk, LEFT, "info", "It is being run.", by)
    if directive.scheduled_at <= directive.now:
        return result
    if signal and signal.name == "directive.snoozed":
        return Result(pk, "Snoozed", "warn", "It did not run.", by)
    return Result(pk, "Will be tried again", "warn", directive.last_error)
