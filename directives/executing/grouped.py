"""Executes first attempts together: one transaction and one commit for many, a savepoint for each.

A commit waits for the disk, and that is most of what a quick directive costs. What does not succeed in
its group has left nothing behind, and is executed again by itself: only there it can fail.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby, takewhile
from typing import NamedTuple
from uuid import UUID

from django.db import DatabaseError, connection, transaction
from psycopg.pq import TransactionStatus

from directives import registry
from directives.executing import batch_size, single
from directives.executing.single import Performed
from directives.executing.timeouts import TimeLimitExceeded, limiting_session
from directives.lifecycle import transitions
from directives.models import Directive
from directives.monitoring import telemetry
from directives.monitoring.telemetry import Attempt
from directives.outcomes import Kind, Outcome
from directives.registry import AnyHandler
from fleetprompt.postgres.idle_in_transaction import milliseconds
from fleetprompt.postgres.statements import Statement
from fleetprompt.telemetry import errors, tracing
from fleetprompt.tenants.context import return_to
from fleetprompt.tenants.models import Tenant
from signals import bus

logger = logging.getLogger(__name__)

_SAVEPOINT = "member"
_BROKEN = TransactionStatus.INERROR


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
        if len(directives) > 1:
            logger.info("a group breaks up: %s", errors.brief(error))
        single.recover(tenant)
        return Together([], {directive.pk for directive in group.reached or directives[:1]})
    telemetry.ended_together([member.attempt for member in group.members], Kind.SUCCEEDED)
    outcomes = [Outcome(Kind.SUCCEEDED, member.directive.pk) for member in group.members]
    alone = {directive.pk for directive in group.reached}
    return Together(outcomes, alone.difference(outcome.directive_id for outcome in outcomes))


def _may_join(directive: Directive) -> bool:
    return (
        directive.attempt == 1
        and batch_size.is_quick(directive.name)
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
    _protected: bool = True

    def perform(self, directives: Sequence[Directive]) -> None:
        """Have the handlers make their changes, until the group's time is over."""
        ends = time.monotonic() + batch_size.GROUP
        # Undoing the only one is undoing everything.
        self._protected = len(directives) > 1
        savepoint = [(f"SAVEPOINT {_SAVEPOINT}", ())] if self._protected else []
        first = registry.get(directives[0].name)
        self._timeout = first.timeout
        held = transitions.hold(directives, before=_limits(first), after=savepoint)
        since = time.monotonic()
        for name, run in groupby(directives, key=lambda directive: directive.name):
            handler = registry.get(name)
            self._limit(handler)
            for work in _portions(handler, list(run)):
                if self.reached and time.monotonic() > ends:
                    return
                self.reached += work
                began = timedelta(seconds=time.monotonic() - since)
                self._join([(one, held[one.pk] + began) for one in work if one.pk in held], handler)

    def store(self) -> None:
        """Write what the members have done; signals that cannot be written break the group."""
        signals = [
            signal
            for member in self.members
            for signal in single.succeeded(member.directive, member.performed, self.tenant)
        ]
        bus.record(signals)
        transitions.succeed_together(
            {member.directive.pk: (member.began, member.performed.result) for member in self.members}
        )

    def _join(self, work: Sequence[tuple[Directive, datetime]], handler: AnyHandler) -> None:
        """Execute by `execute_many` what can be, and all others one after another."""
        if len(work) > 1 and self._join_many(work, handler):
            return
        for directive, began in work:
            try:
                with (
                    telemetry.attempting(directive, self.tenant.slug) as attempt,
                    _savepoint() if self._protected else nullcontext(),
                ):
                    performed = self._perform(directive, handler)
            except (Exception, TimeLimitExceeded):
                if not self._protected:
                    raise
                return_to(self.tenant)
            else:
                self.members.append(_Member(directive, began, attempt, performed))

    def _perform(self, directive: Directive, handler: AnyHandler) -> Performed:
        try:
            performed = single.perform(directive, handler, self.tenant)
        except BaseException:
            tracing.note(again="alone")
            raise
        tracing.note(outcome=Kind.SUCCEEDED)
        return performed

    def _join_many(self, work: Sequence[tuple[Directive, datetime]], handler: AnyHandler) -> bool:
        clock = time.perf_counter()
        try:
            with _savepoint():
                results = single.perform_many([one for one, _ in work], handler, self.tenant)
        except (Exception, TimeLimitExceeded) as error:
            logger.warning("%s: execute_many fails: %s", handler.name, errors.brief(error))
            return_to(self.tenant)
            return False
        for (directive, began), result in zip(work, results, strict=True):
            if isinstance(result, Performed):
                with telemetry.attempting(directive, self.tenant.slug, began=clock) as attempt:
                    tracing.note(outcome=Kind.SUCCEEDED)
                self.members.append(_Member(directive, began, attempt, result))
        return True

    def _limit(self, handler: AnyHandler) -> None:
        if handler.timeout != self._timeout:
            self._timeout = handler.timeout
            with connection.cursor() as cursor:
                cursor.execute(*_limits(handler))


def _limits(handler: AnyHandler) -> Statement:
    """Bound the session by the handler's time, and by the group's what it may wait for a lock.

    A group holds the locks of all its members: two could wait for each other.
    """
    return limiting_session(handler.timeout, lock_timeout=milliseconds(batch_size.GROUP))


def _portions(handler: AnyHandler, run: list[Directive]) -> list[list[Directive]]:
    return [run] if handler.takes_many else [[directive] for directive in run]


@contextmanager
def _savepoint() -> Iterator[None]:
    """Undo the block when it fails, `on_commit` included: as `transaction.atomic`, in half the statements.

    The transaction's one savepoint is moved to where each block begins.

    Raises:
        DatabaseError: the block left the transaction broken, and said nothing of it.
    """
    hooks = len(connection.run_on_commit)
    with connection.cursor() as cursor:
        cursor.execute(f"RELEASE SAVEPOINT {_SAVEPOINT}; SAVEPOINT {_SAVEPOINT}")
    try:
        yield
        if connection.get_rollback() or connection.connection.info.transaction_status == _BROKEN:
            raise DatabaseError("an error was swallowed that broke the transaction")
    except BaseException:
        transaction.set_rollback(False)
        with connection.cursor() as cursor:
            cursor.execute(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
        del connection.run_on_commit[hooks:]
        raise
