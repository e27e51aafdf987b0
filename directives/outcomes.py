"""Outcomes of running a directive: a closed set."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID


class Kind(StrEnum):
    """The five ways in which running a directive ends."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    RETRY_SCHEDULED = "retry_scheduled"
    SNOOZED = "snoozed"
    DISCARDED = "discarded"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How running one directive ended, and why unless it succeeded.

    Args:
        kind: one of the five.
        directive_id: the directive.
        reason: the error, when it is due, or why the runner refused; empty on success.
    """

    kind: Kind
    directive_id: UUID
    reason: str = ""
