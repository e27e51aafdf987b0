"""Does what people ask of many directives at once, each by itself, and says of each what happened."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from directives import operations, permissions, runner
from directives.errors import DirectiveNotFound, IllegalTransition, PermissionRefused, Refused
from directives.models import Directive
from directives.outcomes import Kind, Outcome
from signals.types import Actor

LIMIT = 500
"""How many directives an operation takes at once."""
RUNNING_TIME = 5.0
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
        icon: its symbol.
        states: the statuses that allow it.
        meaning: what it does, for people.
    """

    slug: str
    permission: str
    label: str
    done: str
    icon: str
    states: Sequence[str]
    meaning: str

    def allows(self, user: Any, name: str) -> bool:
        """Return whether the user may do it to directives of that name."""
        return permissions.allows(user, self.permission, name)

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
            "snooze",
            [_Status.REQUESTED],
            "It waits until then. That costs no attempt, and later ones on the same subject may pass it.",
        ),
        Operation(
            "run_now",
            "snooze",
            "Run now",
            "Run now",
            "play_arrow",
            [_Status.REQUESTED],
            "It becomes due and runs at once, unless an earlier one on the same subject is in its way.",
        ),
        Operation(
            "rerun",
            "rerun",
            "Rerun",
            "Rerun",
            "restart_alt",
            list(Directive.TERMINAL),
            "It is requested again, with its history, and attempts are counted on.",
        ),
        Operation(
            "cancel",
            "cancel",
            "Cancel",
            "Canceled",
            "block",
            [_Status.REQUESTED],
            "It will not run. A rerun can bring it back.",
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one directive.

    Args:
        directive_id: which one.
        word: the outcome, the same for all that ended like this.
        tone: how the word is coloured.
        text: what else there is to say.
    """

    directive_id: UUID
    word: str
    tone: str
    text: str = ""


def perform(
    operation: Operation, ids: Sequence[UUID], *, actor: Actor, reason: str, options: Mapping[str, Any]
) -> list[Result]:
    """Do the operation to each directive, in the order of their places in the line.

    Args:
        options: the operation's own arguments, such as `until`.
    """
    found = Directive.objects.filter(pk__in=ids).order_by("queued_at", "id").values_list("pk", flat=True)
    ordered = dict.fromkeys([*found, *ids])
    results = {pk: _do(operation, pk, actor=actor, reason=reason, **options) for pk in ordered}
    if operation.slug == "run_now":
        accepted = [pk for pk, result in results.items() if result.word == operation.done]
        results |= {result.directive_id: result for result in _run(accepted)}
    return list(results.values())


def _do(operation: Operation, pk: UUID, **arguments: Any) -> Result:
    try:
        getattr(operations, operation.slug)(pk, **arguments)
    except DirectiveNotFound:
        return Result(pk, "Not found", "bad", "There is no such directive.")
    except PermissionRefused:
        return Result(pk, "Not allowed", "bad", "You may not do this to directives of this name.")
    except IllegalTransition:
        status = Directive.objects.filter(pk=pk).values_list("status", flat=True).first() or "gone"
        # Who was first may have gone on meanwhile: then the status allows it by now.
        text = operation.why_not(status) or "It changed in that moment; look at it and try again."
        return Result(pk, "Not possible", "warn", text)
    except Refused as refusal:
        return Result(pk, "Refused", "bad", " ".join(refusal.messages))
    return Result(pk, operation.done, "good")


def _run(ids: Sequence[UUID]) -> list[Result]:
    ends = time.monotonic() + RUNNING_TIME
    return [
        _as_result(runner.run(pk))
        if time.monotonic() < ends
        else Result(
            pk, "Left to the cluster", "info", "It is due; a worker takes it as soon as one is free."
        )
        for pk in ids
    ]


def _as_result(outcome: Outcome) -> Result:
    pk, why = outcome.directive_id, outcome.reason
    match outcome.kind:
        case Kind.SUCCEEDED:
            return Result(pk, "Succeeded", "good")
        case Kind.FAILED:
            return Result(pk, "Failed", "bad", why)
        case Kind.RETRY_SCHEDULED:
            return Result(pk, "Will be tried again", "warn", why)
    status = Directive.objects.filter(pk=pk).values_list("status", flat=True).first()
    if status != Directive.Status.REQUESTED:
        return Result(pk, "Left to the cluster", "info", "A worker was faster and has taken it.")
    return Result(pk, "Left to the cluster", "info", f"Not yet: {why}.")
