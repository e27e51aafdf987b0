"""The directive `restriction.reschedule`."""

from django.utils import timezone
from pydantic import AwareDatetime, Field

from directives.errors import DirectiveError
from directives.lifting import RestrictionHandler, RestrictionIdPayload
from directives.models import Directive
from directives.restricting.values import RESCHEDULE, Plan, State


class RescheduleRestrictionPayload(RestrictionIdPayload):
    """One restriction, the subject that it restricts, and when it is to end."""

    until: AwareDatetime | None = Field(
        None, description="When it is to end by itself; without it, the restriction stays."
    )


class RescheduleRestriction(RestrictionHandler[RescheduleRestrictionPayload]):
    """Makes one restriction end later or earlier, or stay for good."""

    name = RESCHEDULE
    label = "Reschedule restriction"
    Payload = RescheduleRestrictionPayload
    signal = "restriction.rescheduled"

    def decide(self, state: State, directive: Directive, payload: RescheduleRestrictionPayload) -> Plan:
        """Change the time, if the actor may request the directive that set the restriction."""
        if payload.until and payload.until <= timezone.now():
            raise DirectiveError(f"until: expected a time in the future; got {payload.until.isoformat()}")
        return Plan(reschedule=self.find(state, directive, payload), until=payload.until)
