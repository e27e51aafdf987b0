"""Many directives of one type, requested together by one person: a batch, known by its correlation id."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Count, Q, QuerySet
from django.db.models.functions import Now

from directives import permissions
from directives.errors import Refused
from directives.intake import DirectiveRequest
from directives.models import Directive
from directives.requests import Requested, request_each
from fleetprompt.tenants.context import active_tenant
from signals import bus
from signals.models import Signal
from signals.types import Actor

REQUESTED = "directive.batch_requested"
"""The signal that a batch leaves, besides those of its directives."""
LARGEST = 10_000
"""How many directives one batch may ask for."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a batch is, in numbers of directives.

    Args:
        counts: by status; `snoozed` are those that are requested and not due yet.
    """

    counts: Mapping[str, int]

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
        """Whether nothing of it waits to be run now."""
        return self.ended + self.counts.get("snoozed", 0) == self.total


def request_batch(
    batch_id: str,
    name: str,
    payloads: Sequence[Mapping[str, Any]],
    *,
    actor: Actor,
    reason: str,
    scheduled_at: datetime | None = None,
    causation_id: str | None = None,
) -> list[Refused] | None:
    """Request one directive per payload, all under one correlation id, once for each `batch_id`.

    Args:
        batch_id: the correlation id; asking twice with one id is one batch, as a double click is.
        payloads: at most `LARGEST`.
        reason: why; the same for all.

    The other arguments are those of `requests.request`.

    Returns:
        why single ones were refused (the others are requested); None when the batch was known and
        nothing was done.

    Raises:
        NoActiveTenant: called outside `in_tenant`.
        PermissionRefused: the actor may not request this directive.
        Refused: there are too many payloads, or every one was refused for the reason given.
    """
    permissions.check(actor, "request", name)
    if len(payloads) > LARGEST:
        raise Refused(f"batch: expected at most {LARGEST} directives; got {len(payloads)}")
    with transaction.atomic():
        if find(batch_id):
            return None
        items = [DirectiveRequest(name, payload, scheduled_at=scheduled_at) for payload in payloads]
        answers = request_each(
            items, actor=actor, reason=reason, correlation_id=batch_id, causation_id=causation_id
        )
        refused = [answer for answer in answers if isinstance(answer, Refused)]
        if len(refused) == len(answers):
            raise refused[0] if refused else Refused("batch: expected at least one directive")
        created = sum(answer.created for answer in answers if isinstance(answer, Requested))
        facts = {
            "name": name,
            "reason": reason,
            "scheduled_at": scheduled_at.isoformat() if scheduled_at else None,
            "asked": len(answers),
            "created": created,
            "known": len(answers) - len(refused) - created,
            "refused": len(refused),
        }
        if not _announce(batch_id, facts, actor, causation_id):
            # Somebody submitted the same form at the same moment and was first.
            transaction.set_rollback(True)
            return None
    return refused


def find(batch_id: str) -> Signal | None:
    """Return the signal that tells of a batch; None when there was no such batch."""
    return Signal.objects.filter(dedupe_key=_dedupe_key(batch_id)).first()


def directives(correlation_id: str) -> QuerySet[Directive]:
    """Return the directives with one correlation id, in the order of their requests."""
    return Directive.objects.filter(correlation_id=correlation_id).order_by("created_at", "id")


def progress(correlation_id: str) -> Progress:
    """Return how far the directives with one correlation id are."""
    rows = (
        Directive.objects.filter(correlation_id=correlation_id)
        .values("status")
        .annotate(number=Count("pk"), later=Count("pk", filter=Q(scheduled_at__gt=Now())))
        .order_by("status")
    )
    counts: Counter[str] = Counter()
    for row in rows:
        later = row["later"] if row["status"] == Directive.Status.REQUESTED else 0
        counts.update({row["status"]: row["number"] - later, "snoozed": later})
    return Progress(+counts)


def _announce(batch_id: str, facts: Mapping[str, Any], actor: Actor, causation_id: str | None) -> bool:
    return bus.emit(
        REQUESTED,
        facts,
        dedupe_key=_dedupe_key(batch_id),
        actor=actor,
        source="directives",
        correlation_id=batch_id,
        causation_id=causation_id,
    ).created


def _dedupe_key(batch_id: str) -> str:
    return f"{REQUESTED}:{active_tenant().slug}:{batch_id}"
