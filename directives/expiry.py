"""Effects for a time: the requests that end them, and ends that come too late.

What began a restriction has an end of its own, `restriction.end`; here is the end of everything else.
"""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from directives import registry
from directives.errors import DirectiveError, Refused
from directives.models import Directive
from directives.requesting.undoing import Left, TextErased, changed_since, undo_requests
from directives.requests import request_many
from directives.restricting.values import END, OF_TIMER, TIMER, TIMER_REASON
from directives.restrictions import RestrictingHandler
from fleetprompt.postgres.primary_keys import primary_key
from fleetprompt.tenants.context import active_tenant

KEY = "expiry"
"""What the idempotency keys of these ends begin with."""


def request_ends(directives: Sequence[Directive]) -> None:
    """Request, for its time, what puts back what each directive did, in the transaction of its success.

    What changed nothing, or would have ended before that time without the directive, gets no end.

    Args:
        directives: with an `expires_at`; the database holds them as succeeded.

    Raises:
        DirectiveError: an end takes a text that was erased, so that the effect would stay.
    """
    ids = [one.pk for one in directives if not isinstance(registry.find(one.name), RestrictingHandler)]
    if not ids:
        return
    rows, tenant = Directive.objects.in_bulk(ids), active_tenant().slug
    ends = []
    for pk, found in undo_requests(list(rows.values()), tenant).items():
        one = rows[pk]
        if isinstance(found, TextErased):
            raise DirectiveError(f"expires_at: what ends it cannot be requested: {found}")
        if isinstance(found, Refused):
            continue
        if found.expires_at and one.expires_at and found.expires_at <= one.expires_at:
            continue
        end = found._replace(
            idempotency_key=f"{KEY}:{tenant}:{pk}:{one.attempt}",
            scheduled_at=one.expires_at,
            correlation_id=one.correlation_id,
        )
        ends.append(end)
    if ends:
        request_many(ends, actor=TIMER, reason=TIMER_REASON)


def pending_ends() -> QuerySet[Directive]:
    """Return the ends that have not run, without those of restrictions, the next one first."""
    pending = Directive.objects.filter(OF_TIMER, status=Directive.Status.REQUESTED)
    return pending.exclude(name=END).order_by("scheduled_at", "id")


def superseded(directives: Sequence[Directive]) -> dict[UUID, dict[str, Any]]:
    """Return the results of ends that come too late: their subjects are gone, or were changed since.

    The subjects of all ends stay locked.

    Args:
        directives: of the timer.
    """
    ends = {one.pk: one for one in directives if one.idempotency_key.startswith(f"{KEY}:")}
    if not ends:
        return {}
    gone = _lock(ends.values())
    left = {
        pk: Left((one.subject_type, one.subject_id), one.payload.get("expected_revision"), one.created_at)
        for pk, one in ends.items()
    }
    changed = changed_since(left)
    return {
        pk: {"changed": False, "superseded_by": str(since.by.pk) if since and since.by else None}
        for pk in ends
        if (since := changed.get(pk)) or pk in gone
    }


def _lock(ends: Collection[Directive]) -> set[UUID]:
    """Lock the subjects of ends, and return the ends whose subjects are gone."""
    gone = set[UUID]()
    for subject_type in sorted({one.subject_type for one in ends}):
        model = registry.subject_model(subject_type)
        if model is None:
            continue
        keys = {
            one.pk: primary_key(model, one.subject_id) for one in ends if one.subject_type == subject_type
        }
        rows = model._base_manager.filter(pk__in=keys.values()).order_by("pk")
        there = {*rows.select_for_update(no_key=True).values_list("pk", flat=True)}
        gone |= {pk for pk, key in keys.items() if key not in there}
    return gone
