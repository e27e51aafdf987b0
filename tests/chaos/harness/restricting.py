"""Operations of requesters on what restricts a subject: undo, end, reschedule."""

from datetime import datetime
from typing import Any

from directives import operations
from directives.models import Directive, Restriction
from directives.requests import Requested, request
from fleetprompt.errors import Refused


def undo(directive: str, *, key: str, until: datetime, **options: Any) -> list[Requested]:
    """Undo a directive."""
    return [operations.undo(directive, **options)]


def undo_batch(directive: str, *, key: str, until: datetime, **options: Any) -> list[Requested]:
    """Undo everything that was requested with a directive."""
    correlation = Directive.objects.get(pk=directive).correlation_id
    return list(operations.undo_batch(correlation, **options).requested.values())


def end(directive: str, *, key: str, until: datetime, **options: Any) -> list[Requested]:
    """End the latest restriction on a directive's subject, whoever set it."""
    return [request("restriction.end", _latest(directive), idempotency_key=key, **options)]


def reschedule(directive: str, *, key: str, until: datetime, **options: Any) -> list[Requested]:
    """Have the latest restriction on a directive's subject end at another time."""
    payload = {**_latest(directive), "until": until.isoformat()}
    return [request("restriction.reschedule", payload, idempotency_key=key, **options)]


def _latest(directive: str) -> dict[str, Any]:
    about = Directive.objects.get(pk=directive)
    known = Restriction.objects.filter(subject_type=about.subject_type, subject_id=about.subject_id)
    latest = known.order_by("ended_at", "since").last()
    if latest is None:
        raise Refused("nothing restricts it")
    return {
        "subject": {"type": latest.subject_type, "id": latest.subject_id},
        "restriction_id": str(latest.pk),
    }
