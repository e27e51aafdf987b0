"""Results of operations on directives, brought up to date with what happened to each directive since."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
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
        undoing: the directive that undoes it.
    """

    directive_id: UUID
    word: str
    tone: str
    text: str = ""
    by: str = ""
    undoing: UUID | None = None

    @property
    def followed(self) -> UUID:
        """The directive whose status says what became of it."""
        return self.undoing or self.directive_id

    @property
    def is_open(self) -> bool:
        """Whether nothing is known but that the cluster runs it."""
        return self.word == LEFT


def followed(results: Collection[Result]) -> Mapping[UUID, Directive]:
    """Return the directives whose statuses say what became of the results."""
    return Directive.objects.annotate(now=Now()).in_bulk({result.followed for result in results})


def up_to_date(results: Collection[Result], directives: Mapping[UUID, Directive]) -> list[Result]:
    """Return the results, with what had become of those that were left to the cluster.

    Args:
        results: what was known when the operation ended.
        directives: what `followed` returned for them.
    """
    open_ids = {result.followed for result in results if result.is_open}
    people = _people([directive for pk, directive in directives.items() if pk in open_ids])
    return [
        _what_became(result, directives.get(result.followed), people.get(result.followed))
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
    became = partial(replace, result, by=_sentence(signal) or result.by)
    if directive is None:
        return became(word="Not found", tone="bad", text="There is no such directive any more.")
    match directive.status:
        case _Status.SUCCEEDED if result.undoing:
            return became(word="Undone", tone="good", text="")
        case _Status.SUCCEEDED:
            return became(word="Succeeded", tone="good", text="A worker ran it.")
        case _Status.FAILED:
            return became(word="Failed", tone="bad", text=directive.last_error)
        case _Status.CANCELED:
            return became(word="Canceled", tone="warn", text="It did not run.")
        case _Status.RUNNING:
            return became(text="It is being run.")
    if directive.scheduled_at <= directive.now:
        return result
    if signal and signal.name == "directive.snoozed":
        return became(word="Snoozed", tone="warn", text="It did not run.")
    return replace(result, word="Will be tried again", tone="warn", text=directive.last_error)
