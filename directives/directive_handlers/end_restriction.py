"""The directive `restriction.end`."""

from typing import Any

from pydantic import AwareDatetime, Field

from directives.directive_handlers.reschedule_restriction import RescheduleRestriction
from directives.handlers import Context
from directives.lifting import RestrictionHandler, RestrictionIdPayload
from directives.models import Directive, Restriction
from directives.restricting.values import END, TIMER, Change, Plan, State
from signals.models import Signal


class EndRestrictionPayload(RestrictionIdPayload):
    """One restriction, and the subject that it restricts."""

    until: AwareDatetime | None = Field(
        None, description="End it only if this is the time at which it is to end."
    )


class EndRestriction(RestrictionHandler[EndRestrictionPayload]):
    """Ends one restriction of a post, a thread or anything else, and leaves all others."""

    name = END
    label = "End restriction"
    Payload = EndRestrictionPayload
    signal = "restriction.ended"

    def decide(self, state: State, directive: Directive, payload: EndRestrictionPayload) -> Plan:
        """End the restriction, if the actor may request the directive that set it."""
        untils = [one.until for one in state.active if one.id == payload.restriction_id]
        if directive.actor == TIMER and untils != [payload.until]:
            # It has ended, or is to end at another time.
            return Plan()
        return Plan(end=[self.find(state, directive, payload)])

    def _result(self, context: Context, change: Change) -> dict[str, Any]:
        if change.ended:
            return super()._result(context, change)
        known = Restriction.objects.get(pk=context.directive.payload["restriction_id"])
        result = {
            "changed": False,
            "revision": change.revision,
            "superseded_by": str(known.ended_by or _moved_by(known)),
        }
        if change.remaining:
            result["still_restricted_by"] = [str(one.directive_id) for one in change.remaining]
        return result


def _moved_by(restriction: Restriction) -> str:
    """Return the directive that gave a restriction the time at which it is to end."""
    told = Signal.objects.filter(
        name=RescheduleRestriction.signal,
        subject_type=restriction.subject_type,
        subject_id=restriction.subject_id,
        payload__rescheduled=str(restriction.pk),
    )
    latest = told.order_by("recorded_at", "id").last()
    return latest.causation_id if latest else str(restriction.directive_id)
