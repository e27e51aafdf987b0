"""Request the ends of restrictions that are for a time."""

from collections.abc import Sequence
from datetime import datetime
from typing import cast

from directives.requests import DirectiveRequest, request_many
from directives.restricting.values import END, TIMER, TIMER_REASON, Change
from fleetprompt.tenants.context import active_tenant


def request_restriction_ends(changes: Sequence[Change]) -> None:
    """Request the ends of restrictions for their times, in the transaction that sets these."""
    tenant, requests = active_tenant().slug, []
    for change in changes:
        directive, until = change.directive, cast(datetime, change.until)
        about = {"type": directive.subject_type, "id": directive.subject_id}
        pk = str(change.rescheduled.id if change.rescheduled else change.begun)
        payload = {"subject": about, "restriction_id": pk, "until": until.isoformat()}
        key = f"{END}:{tenant}:{pk}:{until.isoformat()}:{directive.pk}:{directive.attempt}"
        request = DirectiveRequest(
            END,
            payload,
            idempotency_key=key,
            scheduled_at=until,
            correlation_id=directive.correlation_id,
            causation_id=str(directive.pk),
        )
        requests.append(request)
    request_many(requests, actor=TIMER, reason=TIMER_REASON)
