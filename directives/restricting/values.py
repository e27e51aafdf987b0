"""Values of restrictions: columns that follow from them, and what a directive finds, plans and changes."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Q

from directives.models import Directive
from signals.types import Actor, Subject

END, RESCHEDULE = "restriction.end", "restriction.reschedule"
"""The directives that end one restriction, and that give it another time."""
TIMER = Actor("system", "timer")
"""Who ends a restriction when its time is over."""
OF_TIMER = Q(actor_type=TIMER.type, actor_id=TIMER.id)
"""What the timer requests, as a condition of directives."""
TIMER_REASON = "It was for a limited time"


@dataclass(frozen=True, slots=True)
class RestrictedColumn:
    """A column of a subject's model whose value follows from the subject's active restrictions.

    A model lists its columns as `RESTRICTED_COLUMNS`; it needs a `revision` as well.

    Args:
        name: the column.
        free: its value when no restriction of these kinds is active.
        kinds: its value for each kind of restriction, from weak to strict; the strictest counts.
    """

    name: str
    free: Any
    kinds: Mapping[str, Any]


class Active(NamedTuple):
    """An active restriction of a subject.

    Args:
        name: the directive that set it, such as `forum.post.hide`.
        requested_at: when that directive was requested.
        since: when it began.
        until: when it ends; None when it has no end.
    """

    id: UUID
    kind: str
    name: str
    directive_id: UUID
    actor: Actor
    requested_at: datetime
    since: datetime
    until: datetime | None

    def was_requested_before(self, directive: Directive) -> bool:
        """Return whether the directive that set it was requested before another one."""
        return (self.requested_at, self.directive_id) < (directive.requested_at, directive.pk)


@dataclass(frozen=True, slots=True)
class State:
    """What restricts a subject, as it is while its lock is held.

    Args:
        values: the columns that follow from restrictions, by name.
        version: the number of its text; None where the model counts none.
    """

    subject: Subject
    revision: int
    values: dict[str, Any]
    active: Sequence[Active]
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a directive does to the restrictions of its subject.

    Args:
        begin: the kind of the restriction that it begins; empty for none.
        keep: one that is as the directive wants it already.
        reschedule: one that is to end at another time.
        until: when the one that begins, or is rescheduled, ends by itself; None when it is to stay.
        end: those that it ends.
    """

    begin: str = ""
    keep: Active | None = None
    reschedule: Active | None = None
    until: datetime | None = None
    end: Collection[Active] = ()


class Wanted(NamedTuple):
    """A directive's change of its subject.

    Args:
        expected_revision: the revision that the requester looked at; None where it does not matter.
        decide: gives the plan for the subject's state, or raises DirectiveError.
        unrestricted: what `decide` gives where nothing restricts the subject; None where that depends.
    """

    directive: Directive
    expected_revision: int | None
    decide: Callable[[State], Plan]
    unrestricted: Plan | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one subject.

    Args:
        directive: what changed it.
        before, after: the columns that follow from restrictions.
        revision: its revision now.
        begun: the id of the restriction that began; None when none did.
        kept: the one that was as the directive wants it already.
        rescheduled: the one that is to end at another time.
        until: when it is to end by itself, if it is to end.
        ended: those that ended.
        remaining: those that were active before and go on.
        version: the number of the text that was judged; None where the model counts none.
    """

    directive: Directive
    before: dict[str, Any]
    after: dict[str, Any]
    revision: int
    begun: UUID | None = None
    kept: Active | None = None
    rescheduled: Active | None = None
    until: datetime | None = None
    ended: Sequence[Active] = ()
    remaining: Sequence[Active] = ()
    version: int | None = None
