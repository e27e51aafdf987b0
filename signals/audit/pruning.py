"""Pruning: removes old signals, whole seals at a time, so that the others can still be verified."""

from dataclasses import dataclass
from datetime import UTC, datetime

from django.db import transaction

from fleetprompt.errors import Refused
from fleetprompt.postgres.idle_in_transaction import limit_idle_in_transaction
from fleetprompt.postgres.owner import as_owner, can_migrate
from fleetprompt.postgres.queries import execute, fetch_all
from fleetprompt.tenants.context import active_tenant
from signals import bus, sql
from signals.audit.sealing import heads, keys, locks, stored
from signals.audit.sealing.sealer import MAX_IDLE_SECONDS
from signals.audit.verifying import verification
from signals.models import Pruning, Seal
from signals.types import Actor

PRUNED = "audit.pruned"
"""The name of the signal of a pruning."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The seals that a pruning empties, by the numbers of the first and the last, and how many signals.

    `last_seal` is less than `first_seal` when there is nothing to remove.
    """

    first_seal: int
    last_seal: int
    signals: int


def plan(before: datetime) -> Plan:
    """Return the oldest seals of the active tenant all of whose signals were recorded before a time."""
    active_tenant()
    newest = Pruning.objects.order_by("-number").first()
    first = newest.last_seal + 1 if newest else 1
    last, signals = first - 1, 0
    for seal in stored.seals(after=first - 1):
        is_before = (
            fetch_all(sql.ALL_BEFORE, before, seal.number)[0][0] if seal.size else seal.horizon < before
        )
        if seal.number != last + 1 or not is_before:
            break
        last, signals = seal.number, signals + seal.size
    return Plan(first, last, signals)


def prune(planned: Plan, before: datetime, *, actor: Actor) -> Pruning:
    """Remove the signals of `plan(before)`, record it under a signature, and emit `audit.pruned`.

    Everything up to the last of these seals is verified first: pruning must not remove the traces of
    tampering. It is one transaction. Dedupe keys of removed signals are forgotten.

    Raises:
        KeyMissing: no key signs.
        Refused: there is nothing to remove, signals do not fit their seals, another process reads sealed
            signals or has pruned meanwhile, or this process does not know the owner's login.
    """
    tenant, key = active_tenant(), keys.private_key()
    if planned.last_seal < planned.first_seal:
        raise Refused("no seal has only signals that were recorded before that time")
    if not can_migrate():
        raise Refused("DATABASE_OWNER_URL: expected the owner's login; this role may not delete signals")
    if found := verification.verify(last=planned.last_seal).findings:
        raise Refused(f"nothing was pruned, because something does not fit: {found[0].text}")
    # The application's role may not delete signals.
    with as_owner(), transaction.atomic(durable=True):
        limit_idle_in_transaction(MAX_IDLE_SECONDS)
        locks.wait_for_sealing()
        if not locks.try_pruning():
            raise Refused("another process verifies or exports the signals; prune later")
        if plan(before) != planned:
            raise Refused("another process has pruned meanwhile; plan again")
        record = heads.following(
            Pruning.objects.order_by("-number").first(),
            Pruning,
            tenant,
            key,
            last_seal=planned.last_seal,
            last_hash=heads.of(Seal.objects.get(number=planned.last_seal), tenant).hash,
            signals=planned.signals,
            before=before,
            pruned_at=datetime.now(UTC),
            transaction=fetch_all(sql.TRANSACTION)[0][0],
        )
        record.save()
        removed = execute(sql.REMOVE_SIGNALS, planned.first_seal, planned.last_seal)
        execute(sql.REMOVE_ENTRIES, planned.first_seal, planned.last_seal)
        if removed != planned.signals:
            raise Refused(f"{removed} of {planned.signals} signals could be removed; run audit verify")
        payload = {
            "pruning": record.number,
            "last_seal": record.last_seal,
            "signals": record.signals,
            "before": heads.timestamp(record.before),
        }
        dedupe_key = f"{PRUNED}:{tenant.slug}:{record.number}"
        bus.record([bus.fact(PRUNED, payload, dedupe_key=dedupe_key, actor=actor, source="audit")])
    return record
