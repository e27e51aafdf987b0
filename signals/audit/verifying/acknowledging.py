"""Says on the record that seals were lost honestly, or that they claim too much since a clock was wrong."""

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from django.db import connection, transaction
from django.utils import timezone

from fleetprompt.errors import Refused
from fleetprompt.tenants.context import active_tenant
from signals import bus
from signals.audit.format import events, heads
from signals.audit.models import Seal
from signals.audit.publishing import checkpoints
from signals.audit.sealing import horizon, locks, sealer
from signals.audit.verifying import chain
from signals.audit.verifying.findings import SHOWN, Finding
from signals.audit.verifying.walk import LOOSE
from signals.types import Actor, check_text

REASON_LENGTH = 1_000
ACKNOWLEDGED = "audit.acknowledged"
"""The signal that this leaves."""

_LATE = f"""
    SELECT s.id::text, s.name, {events.RECORDED_TEXT}, least(greatest(s.recorded_at, %s), '9999-12-30Z'),
        count(*) OVER ()
    {LOOSE} AND s.recorded_at < %s ORDER BY s.recorded_at, s.id LIMIT %s
"""


@dataclass(frozen=True, slots=True)
class Wrong:
    """What a clock that was ahead, or was set back, has left in the active tenant.

    Args:
        sentences: for people: the newest seal if it claims a time that has not come yet, and the first
            signals that are in no seal although seals claim to cover their times.
        since: when the first of these signals was recorded, or else now.
        signals: how many they are.
    """

    sentences: list[str] = field(default_factory=list)
    since: datetime | None = None
    signals: int = 0


@dataclass(frozen=True, slots=True)
class Loss:
    """What the checkpoints of this machine know and the database does not.

    Args:
        findings: one for each seal, or file.
        files: the files that say so.
    """

    findings: list[Finding]
    files: list[Path]


def look() -> Loss:
    """Return in what the checkpoints on this machine disagree with the active tenant's seals."""
    tenant = active_tenant()
    if foreign := checkpoints.foreign():
        return Loss([Finding("checkpoints", foreign)], [checkpoints.mark()])
    mine, others = checkpoints.path(tenant), checkpoints.others(tenant)
    found = list(chain.check_checkpoints(tenant, mine)) if mine.exists() else []
    return Loss([*found, *map(chain.earlier_tenant, others)], [*([mine] if found else []), *others])


def acknowledge(reason: str, *, actor: Actor) -> list[Path]:
    """Emit `audit.acknowledged`, put the checkpoints aside that disagree, and begin new ones.

    Args:
        reason: why seals are missing, for the record.
        actor: who says so.

    Returns:
        the files that were put aside, under their new names.

    Raises:
        NoActiveTenant: called outside `in_tenant`.
        Refused: there is no reason, or nothing to acknowledge.
        OSError: the files cannot be written.
    """
    tenant = active_tenant()
    reason = check_text("reason", reason, length=REASON_LENGTH, required=True)
    with checkpoints.locked():
        loss = look()
        if not loss.files:
            raise Refused(
                "there is nothing to acknowledge: the checkpoints agree with the database. For signals "
                "that cannot be sealed since a clock was wrong, add --clock"
            )
        now = heads.moment(timezone.now())
        seals = sorted({finding.seal for finding in loss.findings if finding.seal})
        payload = {
            "reason": reason,
            "files": [file.name for file in loss.files],
            "first_seal": seals[0] if seals else None,
            "last_seal": seals[-1] if seals else None,
            "seals": len(seals),
            "last_checkpoints": [_last(file) for file in loss.files],
        }
        key = f"{ACKNOWLEDGED}:{tenant.slug}:{now}"
        # First the record: without it the alarm stays.
        bus.emit(ACKNOWLEDGED, payload, dedupe_key=key, actor=actor, source="audit")
        aside = checkpoints.put_aside(loss.files, "acknowledged")
    checkpoints.append(tenant)
    return aside


def look_at_clock() -> Wrong:
    """Return what seals of the active tenant claim to cover and do not; a wrong clock may explain it."""
    newest = Seal.objects.order_by("-number").first()
    if newest is None:
        return Wrong()
    now = horizon.clock()
    with connection.cursor() as cursor:
        cursor.execute(_LATE, [sealer.START, newest.horizon, SHOWN])
        rows = cursor.fetchall()
    sentences = [sealer.ahead(newest)] if newest.horizon > now else []
    sentences += [f"signal {pk} ({name}), recorded {time}, is in no seal" for pk, name, time, *_ in rows]
    count = rows[0][4] if rows else 0
    if count > len(rows):
        sentences.append(f"and {count - len(rows)} more")
    return Wrong(sentences, rows[0][3] if rows else now, count)


def acknowledge_clock(reason: str, *, actor: Actor) -> Seal:
    """Emit `audit.acknowledged`, take back what seals claim since a clock was wrong, and seal what is left.

    Args:
        reason: what happened, for the record.
        actor: who says so.

    Returns:
        the empty seal that takes the claim back.

    Raises:
        NoActiveTenant: called outside `in_tenant`.
        KeyMissing: no key signs.
        Refused: there is no reason, nothing to acknowledge, or nobody can know now what is in flight.
        OSError: the checkpoints cannot be written; the seals stand.
    """
    tenant = active_tenant()
    reason = check_text("reason", reason, length=REASON_LENGTH, required=True)
    with transaction.atomic(durable=True):
        sealer.begin()
        locks.wait_for_sealing()
        complete, wrong = horizon.look(), look_at_clock()
        last = Seal.objects.order_by("-number").first()
        if last is None or not wrong.sentences or wrong.since is None:
            raise Refused("there is nothing to acknowledge: seals cover what they claim to cover")
        if complete.at is None:
            raise Refused(f"up to when seals are complete cannot be known now: {complete.obstacle}")
        since = min(wrong.since, complete.at)
        details = {
            "seal": last.number,
            "claimed": heads.moment(last.horizon),
            "since": heads.moment(since),
            "signals": wrong.signals,
        }
        key = f"{ACKNOWLEDGED}:{tenant.slug}:clock:{last.number}"
        payload = {"reason": reason, "clock": details}
        bus.emit(ACKNOWLEDGED, payload, dedupe_key=key, actor=actor, source="audit")
        taken_back = sealer.take_back(last, since)
    sealer.seal()
    return taken_back


def _last(file: Path) -> dict[str, object] | None:
    """Return the last checkpoint that can be read."""
    last = None
    with suppress(checkpoints.Damaged):
        for checkpoint in checkpoints.read(file):
            last = checkpoint
    return {"number": last.head["number"], "hash": last.hash} if last else None
