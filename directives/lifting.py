"""Base classes of directives that end restrictions, or give them another time."""

from collections.abc import Collection
from typing import TypeVar
from uuid import UUID

from pydantic import Field

from directives.authority import permissions
from directives.errors import DirectiveError, PermissionRefused
from directives.handlers import DirectivePayload, SubjectReference
from directives.models import Directive
from directives.restricting import obstacles
from directives.restricting.values import Active, Plan, State
from directives.restrictions import ChangingHandler, PayloadT, columns, restricted_model
from signals.types import Subject


class LiftingHandler(ChangingHandler[PayloadT]):
    """Ends the restrictions of its kinds whose directives were requested before it; later ones stay."""

    def expected_revision(self, directive: Directive, payload: PayloadT) -> int | None:
        """Return nothing for a lift that was put off: what came after its request stays anyway."""
        was_put_off = directive.queued_at > directive.requested_at
        return None if was_put_off else payload.expected_revision

    def decide(self, state: State, directive: Directive, payload: PayloadT) -> Plan:
        """End earlier restrictions, if the actor may request each directive that set one."""
        of_kind = [one for one in state.active if one.kind in self.kinds]
        if not of_kind:
            status = state.values[columns(restricted_model(directive.subject_type))[0].name]
            raise obstacles.nothing_to_lift(state, status)
        earlier = [one for one in of_kind if one.was_requested_before(directive)]
        check_may_end(directive, earlier)
        return Plan(end=earlier)


class RestrictionIdPayload(DirectivePayload):
    """One restriction, and the subject that it restricts."""

    subject: SubjectReference = Field(description="What is restricted.")
    restriction_id: UUID = Field(description="The restriction.")


RestrictionIdT = TypeVar("RestrictionIdT", bound=RestrictionIdPayload)


class RestrictionHandler(ChangingHandler[RestrictionIdT]):
    """Changes one restriction, whatever it restricts."""

    can_expire = False

    def subject(self, payload: RestrictionIdT) -> Subject:
        """Return what is restricted."""
        return Subject(payload.subject.type, payload.subject.id)

    def find(self, state: State, directive: Directive, payload: RestrictionIdT) -> Active:
        """Return the payload's restriction.

        Raises:
            DirectiveError: it is not active, or the actor may not request the directive that set it.
        """
        found = [one for one in state.active if one.id == payload.restriction_id]
        if not found:
            raise DirectiveError(obstacles.not_active(state, payload.restriction_id))
        check_may_end(directive, found)
        return found[0]


def check_may_end(directive: Directive, restrictions: Collection[Active]) -> None:
    """Check that the actor of a directive may request each directive that set one of the restrictions.

    Raises:
        DirectiveError: naming the permission that is missing.
    """
    for name in sorted({one.name for one in restrictions}):
        try:
            permissions.check(directive.actor, "request", name)
        except PermissionRefused as refusal:
            raise DirectiveError(str(refusal)) from None
