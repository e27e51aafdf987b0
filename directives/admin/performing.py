"""Does what people ask of many directives at once, each by itself, and says of each what happened."""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from directives import operations, registry, runner
from directives.admin import undoing
from directives.admin.results import LEFT, Result, by_whom
from directives.authority import permissions
from directives.display import labels
from directives.errors import DirectiveNotFound, IllegalTransition, PermissionRefused, Refused
from directives.models import Directive
from directives.outcomes import Kind, Outcome
from signals.models import Signal
from signals.types import Actor

MAX_DIRECTIVES = 500
"""How many directives an operation takes at once."""
RUNNING_SECONDS = 5.0
"""Seconds after which the rest of what is to run now is left to the cluster."""

_Status = Directive.Status


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that people do to directives, in words.

    Args:
        slug: its name in URLs, and of the function in `directives.operations`.
        permission: the action that the user must be allowed to do on directives of that name.
        label: the imperative.
        done: what has then been done to the directive.
        states: the statuses that allow it.
        meaning: what it does, for people.
        signal: the name of the signal that it leaves on the directive; empty for none.
    """

    slug: str
    permission: str
    label: str
    done: str
    states: Sequence[str]
    meaning: str
    signal: str = ""

    @property
    def icon(self) -> str:
        """The symbol of it."""
        return labels.signal_icon(self.signal) if self.signal else self.slug

    def allows(self, user: Any, name: str) -> bool:
        """Return whether the user may do it to directives of that name."""
        return permissions.allows(user, self.permission, name)

    def sentence(self, count: int) -> str:
        """Return what is done to that many directives, such as `Run 3 directives now`."""
        verb, _, rest = self.label.partition(" ")
        return f"{verb} {labels.counted_noun(Directive, count)} {rest}".rstrip()

    def why_not(self, status: str) -> str:
        """Return why a status does not allow it; empty when it does."""
        if status in self.states:
            return ""
        needed = "is requested" if _Status.REQUESTED in self.states else "has ended"
        verb = "has" if status in (_Status.SUCCEEDED, _Status.FAILED) else "is"
        return f"It {verb} {status}; only one that {needed} can be {self.done.lower()}."


OPERATIONS = {
    operation.slug: operation
    for operation in (
        Operation(
            "snooze",
            "snooze",
            "Snooze",
            "Snoozed",
            [_Status.REQUESTED],
            "It waits until then. That costs no attempt, and later ones on the same subject may pass it.",
            "directive.snoozed",
        ),
        Operation(
            "run_now",
            "snooze",
            "Run now",
            "Run now",
            [_Status.REQUESTED],
            "It becomes due and runs at once, unless an earlier one on the same subject is in its way.",
            "directive.run_requested",
        ),
        Operation(
            "rerun",
            "rerun",
            "Rerun",
            "Rerun",
            list(Directive.TERMINAL),
            "It is requested again, with its history, and attempts are counted on.",
            "directive.rerun_requested",
        ),
        Operation(
            "cancel",
            "cancel",
            "Cancel",
            "Canceled",
            [_Status.REQUESTED],
            "It will not run. A rerun can bring it back.",
            "directive.canceled",
        ),
        Operation(
            "undo",
            "request",
            "Undo",
            "Undone",
            list(Directive.TERMINAL),
            "What each directive did is put back. What others did before or after it stays.",
        ),
    )
}


def perform(
    operation: Operation, ids: Sequence[UUID], *, actor: Actor, reason: str, options: Mapping[str, Any]
) -> Iterator[Result]:
    """Do the operation to each directive, in the order of their places in the line.

    Args:
        options: the operation's own arguments, such as `until`.

    Returns:
        what came of each as soon as it is known; a later result for a directive replaces the earlier one.
    """
    found = Directive.objects.filter(pk__in=ids).order_by("queued_at", "id").values_list("pk", flat=True)
    left = []
    for pk in dict.fromkeys([*found, *ids]):
        result = _do(operation, pk, actor=actor, reason=reason, **options)
        yield result
        if result.is_open:
            left.append(pk)
    if operation.slug != "run_now":
        return
    ends = time.monotonic() + RUNNING_SECONDS
    for pk in left:
        if time.monotonic() >= ends:
            return
        yield _as_result(runner.run(pk))


def longest_run_seconds(operation: Operation, ids: Sequence[UUID]) -> float:
    """Return how long the operation may be busy with a single directive: it runs those of Run now."""
    if operation.slug != "run_now":
        return 0
    names = Directive.objects.filter(pk__in=ids).values_list("name", flat=True).distinct()
    handlers = [handler for name in names if (handler := registry.find(name))]
    return max((handler.timeout for handler in handlers), default=0)


def done_since(operation: Operation, ids: Collection[UUID], actor: Actor, since: datetime) -> list[Result]:
    """Return a result for each directive to which the actor has done the operation since a time."""
    if operation.slug == "undo":
        return undoing.undone_since(ids, actor, since)
    done = Signal.objects.filter(
        causation_id__in=[str(pk) for pk in ids],
        name=operation.signal,
        actor_type=actor.type,
        actor_id=actor.id,
        recorded_at__gte=since,
    )
    found = {UUID(text) for text in done.values_list("causation_id", flat=True)}
    return [_accepted(operation, pk) for pk in ids if pk in found]


def _do(operation: Operation, pk: UUID, **arguments: Any) -> Result:
    if operation.slug == "undo":
        return undoing.undo(pk, **arguments)
    try:
        getattr(operations, operation.slug)(pk, **arguments)
    except DirectiveNotFound:
        return Result(pk, "Not found", "bad", "There is no such directive.")
    except PermissionRefused:
        return Result(pk, "Not allowed", "bad", "You may not do this to directives of this name.")
    except IllegalTransition:
        return _not_possible(operation, pk)
    except Refused as refusal:
        return Result(pk, "Refused", "bad", " ".join(refusal.messages))
    return _accepted(operation, pk)


def _accepted(operation: Operation, pk: UUID) -> Result:
    if operation.slug == "run_now":
        return Result(pk, LEFT, "info", "It is due; a worker takes it as soon as one is free.")
    return Result(pk, operation.done, "good")


def _not_possible(operation: Operation, pk: UUID) -> Result:
    directive = Directive.objects.filter(pk=pk).first()
    # Who was first may have gone on meanwhile: then the status allows it by now.
    text = operation.why_not(directive.status if directive else "gone")
    text = text or "It changed in that moment; look at it and try again."
    return Result(pk, "Not possible", "warn", text, by_whom(directive) if directive else "")


def _as_result(outcome: Outcome) -> Result:
    pk, why = outcome.directive_id, outcome.reason
    match outcome.kind:
        case Kind.SUCCEEDED:
            return Result(pk, "Succeeded", "good")
        case Kind.FAILED:
            return Result(pk, "Failed", "bad", why)
        case Kind.RETRY_SCHEDULED:
            return Result(pk, "Will be tried again", "warn", why)
    return Result(pk, LEFT, "info", f"Not yet: {why}.")
