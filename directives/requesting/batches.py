"""Progress and origins of a batch: the directives that share a correlation id."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Case, Count, Max, Min, QuerySet, TextField, Value, When
from django.db.models.fields.json import KT
from django.db.models.functions import Coalesce

from directives.models import Directive
from directives.restricting.values import OF_TIMER, TIMER
from fleetprompt.postgres.queries import fetch_all
from fleetprompt.web.limits import COUNTED
from signals.types import ERASED

# In the order of the index on correlation ids, so that a huge one is not read from end to end.
_PROGRESS = """
    SELECT CASE WHEN status = 'requested' AND scheduled_at > now() THEN 'snoozed' ELSE status END,
        count(*), min(scheduled_at), max(scheduled_at)
    FROM (
        SELECT status, scheduled_at FROM directives_directive
        WHERE correlation_id = %s AND (actor_type, actor_id) <> (%s, %s)
        ORDER BY created_at DESC, id DESC LIMIT %s
    ) AS counted GROUP BY 1
"""

MAX_ORIGINS = 10
"""How many kinds of request of one correlation id are told apart."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a batch is, in numbers of directives.

    Args:
        counts: by status; `snoozed` are those that are requested and not due yet.
        due: when the first and the last of the snoozed ones become due; None when there are none.
    """

    counts: Mapping[str, int]
    due: tuple[datetime, datetime] | None = None

    @property
    def total(self) -> int:
        """All directives of the batch."""
        return sum(self.counts.values())

    @property
    def ended(self) -> int:
        """Those that have succeeded, failed or been canceled."""
        return sum(self.counts.get(status, 0) for status in Directive.TERMINAL)

    @property
    def is_over(self) -> bool:
        """Whether nothing of it will happen by itself any more."""
        return self.ended == self.total

    @property
    def is_waiting(self) -> bool:
        """Whether what is left of it is not due yet: put off, or waiting for a retry."""
        return not self.is_over and self.ended + self.counts.get("snoozed", 0) == self.total


def directives(correlation_id: str) -> QuerySet[Directive]:
    """Return the directives with one correlation id, in the order of their requests.

    Those that end at its time what one of them began were not asked for, and are left out.
    """
    together = Directive.objects.filter(correlation_id=correlation_id)
    return together.exclude(OF_TIMER).order_by("created_at", "id")


def origins(correlation_id: str) -> Sequence[Mapping[str, Any]]:
    """Return what was asked under one correlation id, by whom and why, each with its number and times.

    Returns:
        at most `MAX_ORIGINS`, the earliest first, by `name`, `actor_label`, `actor_id`, `reason`, `number`,
        `first` and `last`; of more than `COUNTED` directives, of the first.
    """
    counted = directives(correlation_id).values("pk")[:COUNTED]
    text = Coalesce(KT("personal__reason__1"), Value(""), output_field=TextField())
    reason = Case(When(personal__isnull=True, then=Value(ERASED)), default=text, output_field=TextField())
    found = Directive.objects.filter(pk__in=counted)
    asked = found.values("name", "actor_type", "actor_id", "actor_label", reason=reason).annotate(
        number=Count("pk"), first=Min("created_at"), last=Max("created_at")
    )
    return list(asked.order_by("first", "name", "actor_id", "reason")[:MAX_ORIGINS])


def progress(correlation_id: str) -> Progress:
    """Return how far the directives with one correlation id are; of more than `COUNTED`, the first."""
    rows = fetch_all(_PROGRESS, correlation_id, TIMER.type, TIMER.id, COUNTED + 1)
    due = next(((first, last) for status, _, first, last in rows if status == "snoozed"), None)
    return Progress({status: number for status, number, *_ in rows}, due)
