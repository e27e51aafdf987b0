"""Many directives of one type, requested together by one person: a batch, known by its correlation id."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import Count, Max, Min, QuerySet

from directives.authority import permissions
from directives.errors import Refused
from directives.models import Directive
from directives.requesting.validation import DirectiveRequest
from directives.requests import Requested, request_each
from fleetprompt.tenants.context import active_tenant
from fleetprompt.web.limits import COUNTED
from signals import bus
from signals.bus import Emitted
from signals.models import Signal
from signals.types import Actor

# In the order of the index on correlation ids, so that a huge one is not read from end to end.
_PROGRESS = """
    SELECT CASE WHEN status = 'requested' AND scheduled_at > now() THEN 'snoozed' ELSE status END,
        count(*), min(scheduled_at), max(scheduled_at)
    FROM (
        SELECT status, scheduled_at FROM directives_directive WHERE correlation_id = %s
        ORDER BY created_at DESC, id DESC LIMIT %s
    ) AS counted GROUP BY 1
"""

REQUESTED = "directive.batch_requested"
"""The signal that a batch leaves, besides those of its directives."""
NAMED = 20
"""How many of the directives that had been requested before the batch's signal names."""
ORIGINS = 10
"""How many kinds of request of one correlation id are told apart."""
LARGEST = 10_000
"""How many directives one batch may ask for."""


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
        Refused: there are too many payloads, every one was refused for the reason given, or something
            else has that id.
    """
    permissions.check(actor, "request", name)
    if len(payloads) > LARGEST:
        raise Refused(f"batch: expected at most {LARGEST} directives; got {len(payloads)}")
    digest = _digest(actor, name, payloads, reason, scheduled_at)
    with transaction.atomic():
        # In this order: the same form, submitted at this moment, leaves directives and signal together.
        is_used = _is_used(batch_id)
        if known := find(batch_id):
            _check_same(known, digest)
            return None
        if is_used:
            raise Refused(
                f"batch: the number {batch_id} is in use by other requests; submit the form again"
            )
        items = [DirectiveRequest(name, payload, scheduled_at=scheduled_at) for payload in payloads]
        answers = request_each(
            items, actor=actor, reason=reason, correlation_id=batch_id, causation_id=causation_id
        )
        refused = [answer for answer in answers if isinstance(answer, Refused)]
        if len(refused) == len(answers):
            raise refused[0] if refused else Refused("batch: expected at least one directive")
        taken = [answer for answer in answers if isinstance(answer, Requested)]
        known_ids = [str(answer.directive.pk) for answer in taken if not answer.created]
        facts = {
            "name": name,
            "reason": reason,
            "scheduled_at": scheduled_at.isoformat() if scheduled_at else None,
            "asked": len(answers),
            "created": len(taken) - len(known_ids),
            "known": len(known_ids),
            "known_directives": known_ids[:NAMED],
            "refused": len(refused),
            "digest": digest,
        }
        announced = _announce(batch_id, facts, actor, causation_id)
        if not announced.created:
            # The same form was submitted at the same moment, and the other one was first.
            transaction.set_rollback(True)
            _check_same(announced.signal, digest)
            return None
    return refused


def find(batch_id: str) -> Signal | None:
    """Return the signal that tells of a batch; None when there was no such batch."""
    return Signal.objects.filter(dedupe_key=_dedupe_key(batch_id)).first()


def directives(correlation_id: str) -> QuerySet[Directive]:
    """Return the directives with one correlation id, in the order of their requests."""
    return Directive.objects.filter(correlation_id=correlation_id).order_by("created_at", "id")


def origins(correlation_id: str) -> Sequence[Mapping[str, Any]]:
    """Return what was asked under one correlation id, by whom and why, each with its number and times.

    Returns:
        at most `ORIGINS`, the earliest first, by `name`, `actor_label`, `actor_id`, `reason`, `number`,
        `first` and `last`; of more than `COUNTED` directives, of the first.
    """
    counted = directives(correlation_id).values("pk")[:COUNTED]
    found = Directive.objects.filter(pk__in=counted)
    asked = found.values("name", "actor_type", "actor_id", "actor_label", "reason").annotate(
        number=Count("pk"), first=Min("created_at"), last=Max("created_at")
    )
    return list(asked.order_by("first", "name", "actor_id", "reason")[:ORIGINS])


def progress(correlation_id: str) -> Progress:
    """Return how far the directives with one correlation id are; of more than `COUNTED`, the first."""
    with connection.cursor() as cursor:
        cursor.execute(_PROGRESS, [correlation_id, COUNTED + 1])
        rows = {status: (number, (first, last)) for status, number, first, last in cursor.fetchall()}
    _, due = rows.get("snoozed", (0, None))
    return Progress({status: number for status, (number, _) in rows.items()}, due)


def _announce(batch_id: str, facts: Mapping[str, Any], actor: Actor, causation_id: str | None) -> Emitted:
    return bus.emit(
        REQUESTED,
        facts,
        dedupe_key=_dedupe_key(batch_id),
        actor=actor,
        source="directives",
        correlation_id=batch_id,
        causation_id=causation_id,
    )


def _digest(
    actor: Actor, name: str, payloads: Sequence[Mapping[str, Any]], reason: str, at: datetime | None
) -> str:
    """Return what tells one batch from another: who asks for what, why and when."""
    asked = [actor.type, actor.id, name, reason, at and at.isoformat(), list(payloads)]
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()


def _check_same(known: Signal, digest: str) -> None:
    if not isinstance(known.payload, dict) or known.payload.get("digest") != digest:
        raise Refused("batch: this form was submitted before, with other contents; submit it again")


def _is_used(correlation_id: str) -> bool:
    return any(
        model.objects.filter(correlation_id=correlation_id).exists() for model in (Directive, Signal)
    )


def _dedupe_key(batch_id: str) -> str:
    return f"{REQUESTED}:{active_tenant().slug}:{batch_id}"
