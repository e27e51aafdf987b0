"""Runs directives of the active tenant in this process. The table is the truth; queues only wake."""

import sys
from collections.abc import Iterator
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from directives import operations
from directives.errors import DirectiveNotFound, IllegalTransition
from directives.executing import attempts
from directives.lifecycle import claims, queries
from directives.lifecycle.failures import RUNNER
from directives.models import Directive
from directives.outcomes import Kind, Outcome
from fleetprompt.tenants.context import active_tenant
from fleetprompt.tenants.models import Tenant
from signals.types import Actor


def run(
    directive_id: UUID | str,
    rerun: bool = False,
    *,
    actor: Actor = RUNNER,
    reason: str = "rerun by the runner",
) -> Outcome:
    """Run one directive of the active tenant now, in this process.

    Args:
        directive_id: the directive.
        rerun: run it again when it has ended already.
        actor: who reruns it; users need the permission to.
        reason: why it is rerun.

    Returns:
        succeeded, failed, retry scheduled, snoozed (it is not due yet), or discarded: there is no
        such directive, it runs already, it waits for an earlier one on its subject, or it has ended
        and `rerun` is False.

    Raises:
        NoActiveTenant: called outside `in_tenant`.
        PermissionRefused: the user may not rerun.
        RuntimeError: called inside a transaction, which could undo what a directive did.
    """
    tenant = active_tenant()
    directive_id = operations.parse_id(directive_id)
    if rerun:
        tenant.status = queries.tenant_status()
        if tenant.status == Tenant.Status.ACTIVE and (refusal := _rerun(directive_id, actor, reason)):
            return refusal
    with claims.released_when_lost() as token:
        claim = claims.claim(tenant, 1, only=directive_id, token=token)
        if not any(claim):
            return _why_not(directive_id, tenant)
        [outcome] = claim.exhausted or attempts.execute(claim.directives, tenant)
    # It may have held back others on its subject.
    claims.wake_for_the_rest(tenant)
    return outcome


def run_due(limit: int | None = None) -> list[Outcome]:
    """Run everything that is due in the active tenant, in this process, until nothing is left.

    Args:
        limit: how many directives to run at most; all by default.

    Returns:
        one outcome per attempt, in the order of execution.

    Raises:
        NoActiveTenant: called outside `in_tenant`.
        RuntimeError: called inside a transaction.
    """
    return list(iterate_due(limit))


def iterate_due(limit: int | None = None) -> Iterator[Outcome]:
    """Run what is due in the active tenant and give each outcome as it comes; see `run_due`."""
    tenant = active_tenant()
    left = sys.maxsize if limit is None else limit
    while left > 0:
        with claims.released_when_lost() as token:
            claim = claims.claim(tenant, min(left, settings.DIRECTIVES_CLAIM_LIMIT), token=token)
            if not any(claim):
                return
            left -= len(claim.directives)
            yield from claim.exhausted
            yield from attempts.execute(claim.directives, tenant)
    claims.wake_for_the_rest(tenant)


def _rerun(directive_id: UUID, actor: Actor, reason: str) -> Outcome | None:
    status = Directive.objects.filter(pk=directive_id).values_list("status", flat=True).first()
    if status not in Directive.TERMINAL:
        return None
    try:
        # Durable, so that inside a transaction the rerun is refused together with the run.
        with transaction.atomic(durable=True):
            operations.rerun(directive_id, actor=actor, reason=reason)
    except (DirectiveNotFound, IllegalTransition) as error:
        return Outcome(Kind.DISCARDED, directive_id, str(error))
    return None


def _why_not(directive_id: UUID, tenant: Tenant) -> Outcome:
    if tenant.status != Tenant.Status.ACTIVE:
        return Outcome(Kind.DISCARDED, directive_id, f"tenant {tenant.slug} is {tenant.status}")
    directive = Directive.objects.filter(pk=directive_id).first()
    if directive is None:
        return Outcome(Kind.DISCARDED, directive_id, "not found in this tenant")
    if directive.status == Directive.Status.RUNNING:
        reason = f"already running, attempt {directive.attempt}"
    elif directive.status in Directive.TERMINAL:
        reason = f"already {directive.status}; rerun it to run it again"
    elif directive.scheduled_at > timezone.now():
        when = directive.scheduled_at.isoformat(timespec="seconds")
        return Outcome(Kind.SNOOZED, directive_id, f"not due before {when}")
    else:
        ahead = queries.ahead_in_line(lambda name: getattr(directive, name)).first()
        reason = f"waits for {ahead} on the same subject" if ahead else "claimed by another worker"
    return Outcome(Kind.DISCARDED, directive_id, reason)
