"""Executes first attempts together: one transaction and one commit for many, a savepoint for each.

A commit waits for the disk, and that is most of what a quick directive costs. What does not succeed in
its group has left nothing behind, and is executed again by itself: only there it can fail.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import takewhile
from typing import NamedTuple
from uuid import UUID

from django.db import transaction

from directives import execution, journal, lifecycle, observing, pace, registry
from directives.execution import Performed
from directives.models import Directive
from directives.observing import Attempt
from directives.outcomes import Kind, Outcome
from directives.registry import AnyHandler
from directives.timeouts import TimeLimitExceeded, limit_session
from fleetprompt.postgres.silence import milliseconds
from fleetprompt.telemetry import errors, tracing
from fleetprompt.tenants.context import return_to
from fleetprompt.tenants.models import Tenant

logger = logging.getLogger(__name__)


class Together(NamedTuple):
    """What became of a group: outcomes of those that succeeded, and the ids of those to execute alone."""

    outcomes: list[Outcome]
    alone: set[UUID]


def leading(directives: Sequence[Directive]) -> list[Directive]:
    """Return those from the first on that may be executed together.

    They are quick, so that nobody waits for a slow one, and first attempts: nothing says which member of
    a group killed its worker, so that their next attempts, alone, have to.
    """
    return list(takewhile(_may_join, directives))


def execute(directives: Sequence[Directive], tenant: Tenant) -> Together:
    """Execute claimed directives together, from the first on, as many as `pace.GROUP` has time for.

    Args:
        directives: what `leading` gave; at least one.
        tenant: the active tenant.
    """
    group = _Group(tenant)
    try:
        with transaction.atomic(durable=True):
            group.perform(directives)
            group.store()
    except (Exception, TimeLimitExceeded) as error:
        logger.info("a group breaks up: %s", errors.brief(error))
        execution.recover(tenant)
        return Together([], {directive.pk for directive in group.reached or directives[:1]})
    for member in group.members:
        member.attempt.ended(Kind.SUCCEEDED)
    outcomes = [Outcome(Kind.SUCCEEDED, member.directive.pk) for member in group.members]
    alone = {directive.pk for directive in group.reached}
    return Together(outcomes, alone.difference(outcome.directive_id for outcome in outcomes))


def _may_join(directive: Directive) -> bool:
    return (
        directive.attempt == 1
        and pace.is_quick(directive.name)
        and registry.find(directive.name) is not None
    )


@dataclass(slots=True)
class _Member:
    directive: Directive
    began: datetime
    attempt: Attempt
    performed: Performed


@dataclass(slots=True)
class _Group:
    """One transaction's directives."""

    tenant: Tenant
    reached: list[Directive] = field(default_factory=list)
    members: list[_Member] = field(default_factory=list)
    _timeout: float = 0.0

    def perform(self, directives: Sequence[Directive]) -> None:
        ends = time.monotonic() + pace.GROUP
        self._limit(registry.get(directives[0].name))
        held, offset = lifecycle.hold(directives), time.monotonic()
        for directive in directives:
            self.reached.append(directive)
            if directive.pk in held:
                waited = timedelta(seconds=time.monotonic() - offset)
                self._join(directive, held[directive.pk] + waited)
            if time.monotonic() > ends:
                break

    def store(self) -> None:
        """Write what the members have done: signals first, so that what is lost of them can be noted."""
        signals = [
            signal
            for member in self.members
            for signal in execution.succeeded(member.directive, member.performed, self.tenant)
        ]
        journal.write_for([member.directive for member in self.members], signals)
        lifecycle.succeed_together(
            {member.directive.pk: (member.began, member.performed.result) for member in self.members}
        )

    def _join(self, directive: Directive, began: datetime) -> None:
        handler = registry.get(directive.name)
        self._limit(handler)
        try:
            with observing.attempting(directive, self.tenant.slug) as attempt, transaction.atomic():
                performed = execution.perform(directive, handler, self.tenant)
                tracing.note(outcome=Kind.SUCCEEDED)
        except (Exception, TimeLimitExceeded):
            return_to(self.tenant)
        else:
            self.members.append(_Member(directive, began, attempt, performed))

    def _limit(self, handler: AnyHandler) -> None:
        """Bound the session by the handler's time, and by the group's what it may wait for a lock.

        A group holds the locks of all its members: two could wait for each other.
        """
        if handler.timeout != self._timeout:
            self._timeout = handler.timeout
            limit_session(handler.timeout, lock_timeout=milliseconds(pace.GROUP))
