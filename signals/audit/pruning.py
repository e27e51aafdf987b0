"""Removes old signals, whole seals at a time, so that what is left can still be verified."""

from dataclasses import dataclass
from datetime import UTC, datetime

from django.db import connection, transaction

from fleetprompt.errors import Refused
from fleetprompt.postgres.idle_in_transaction import limit_idle_in_transaction
from fleetprompt.postgres.owner import as_owner, can_migrate
from fleetprompt.tenants.context import active_tenant
from fleetprompt.tenants.models import Tenant
from signals import bus
from signals.audit.format import heads
from signals.audit.models import Pruning, Seal
from signals.audit.sealing import keys, locks
from signals.audit.sealing.keys import PrivateKey
from signals.audit.sealing.sealer import SILENCE
from signals.audit.verifying import verification
from signals.types import Actor

PRUNED = "audit.pruned"
"""The signal that this leaves."""

_ALL_BEFORE = """
    SELECT bool_and(s.recorded_at < %s)
    FROM signals_sealentry AS e JOIN signals_signal AS s ON s.id = e.signal_id WHERE e.seal = %s
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a pruning removes.

    Args:
        first_seal: the number of the first seal.
        last_seal: that of the last one; less than `first_seal` when there is nothing to remove.
        signals: how many signals they cover.
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
    for seal in Seal.objects.filter(number__gte=first).order_by("number").iterator(1_000):
        if seal.number != last + 1 or not _is_before(seal, before):
            break
        last, signals = seal.number, signals + seal.size
    return Plan(first, last, signals)


def prune(planned: Plan, before: datetime, *, actor: Actor) -> Pruning:
    """Remove what was planned, record it under a signature, and emit `audit.pruned`.

    Everything up to the last of these seals is verified first: pruning must not remove the traces of
    tampering. It is one transaction. Dedupe keys of what is removed are forgotten.

    Args:
        planned: what `plan` returned for `before`.
        actor: who does it.

    Raises:
        NoActiveTenant: called outside `in_tenant`.
        KeyMissing: no key signs.
        Refused: there is nothing to remove, something does not fit its seals, somebody reads sealed
            signals, somebody else has pruned meanwhile, or this process does not know the owner's login.
    """
    tenant, key = active_tenant(), keys.private_key()
    if planned.last_seal < planned.first_seal:
        raise Refused("no seal has only signals that were recorded before that time")
    if not can_migrate():
        raise Refused("DATABASE_OWNER_URL: expected the owner's login; this role may not delete signals")
    found = verification.verify(last=planned.last_seal).findings
    if found.count:
        raise Refused(f"nothing was pruned, because something does not fit: {found.first[0].text}")
    # The application's role may not delete signals.
    with as_owner(), transaction.atomic(durable=True):
        limit_idle_in_transaction(SILENCE)
        locks.wait_for_sealing()
        if not locks.try_pruning():
            raise Refused("somebody verifies or exports the signals; prune later")
        if plan(before) != planned:
            raise Refused("somebody else has pruned meanwhile; look again")
        record = _recorded(tenant, key, planned, before)
        removed = _remove(planned)
        if removed != planned.signals:
            raise Refused(f"{removed} of {planned.signals} signals could be removed; run audit verify")
        _say(tenant, record, actor)
    return record


def _is_before(seal: Seal, before: datetime) -> bool:
    if seal.size == 0:
        return seal.horizon < before
    with connection.cursor() as cursor:
        cursor.execute(_ALL_BEFORE, [before, seal.number])
        return bool(cursor.fetchone()[0])


def _recorded(tenant: Tenant, key: PrivateKey, planned: Plan, before: datetime) -> Pruning:
    last = Pruning.objects.order_by("-number").first()
    record = Pruning(
        number=last.number + 1 if last else 1,
        previous=heads.of_pruning(last, tenant).hash if last else heads.GENESIS,
        last_seal=planned.last_seal,
        last_hash=heads.of_seal(Seal.objects.get(number=planned.last_seal), tenant).hash,
        signals=planned.signals,
        before=before,
        pruned_at=datetime.now(UTC),
        transaction=_transaction(),
        key=key.public.id,
    )
    record.signature = heads.sign(heads.of_pruning(record, tenant).head, key).signature
    record.save()
    return record


def _remove(planned: Plan) -> int:
    """Delete signals and entries; this is all that needs the right to delete. Return how many signals."""
    seals = [planned.first_seal, planned.last_seal]
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM signals_signal AS s USING signals_sealentry AS e"
            " WHERE e.signal_id = s.id AND e.seal BETWEEN %s AND %s",
            seals,
        )
        removed = int(cursor.rowcount)
        cursor.execute("DELETE FROM signals_sealentry WHERE seal BETWEEN %s AND %s", seals)
    return removed


def _say(tenant: Tenant, record: Pruning, actor: Actor) -> None:
    payload = {
        "pruning": record.number,
        "last_seal": record.last_seal,
        "signals": record.signals,
        "before": heads.moment(record.before),
    }
    key = f"{PRUNED}:{tenant.slug}:{record.number}"
    bus.record([bus.fact(PRUNED, payload, dedupe_key=key, actor=actor, source="audit")])


def _transaction() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id()::text::bigint")
        return int(cursor.fetchone()[0])
