"""Acknowledgements on the record: that seals were lost, or claim too much because a clock was wrong."""

from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from django.db import transaction
from django.utils import timezone

from fleetprompt.errors import Refused
from fleetprompt.tenants.context import active_tenant
from signals import bus
from signals.audit.sealing import checkpoints, heads, horizon, locks, sealer, stored
from signals.audit.verifying import chain
from signals.audit.verifying.findings import MAX_SHOWN, Finding
from signals.models import Seal
from signals.types import Actor, Personal, check_text

REASON_LENGTH = 1_000
ACKNOWLEDGED = "audit.acknowledged"
"""The name of the signal of an acknowledgement."""


class Wrong(NamedTuple):
    """The traces in the active tenant of a clock that was ahead, or was set back.

    Args:
        sentences: for people: the newest seal if it claims a time that has not come yet, and the first
            signals that are in no seal although seals claim to cover their times.
        since: the time of recording of the first of these signals, or else now.
        signals: the number of these signals.
    """

    sentences: list[str]
    since: datetime
    signals: int


def look() -> tuple[list[Finding], list[Path]]:
    """Return the seals that this machine's checkpoints have and the active tenant lacks, or has otherwise.

    Returns:
        a finding for each seal or file, and the files with these checkpoints.
    """
    tenant = active_tenant()
    if foreign := checkpoints.foreign():
        return [Finding("checkpoints", foreign)], [checkpoints.mark()]
    mine, others = checkpoints.path(tenant), checkpoints.others(tenant)
    found = list(chain.check_checkpoints(tenant, mine)) if mine.exists() else []
    return [*found, *map(chain.earlier_tenant, others)], [*([mine] if found else []), *others]


def acknowledge(reason: str, *, actor: Actor) -> list[Path]:
    """Emit `audit.acknowledged` with the reason why seals are missing, and begin new checkpoints.

    Returns:
        the new names of the files that disagreed and were put aside.

    Raises:
        Refused: there is no reason, or nothing to acknowledge.
        OSError: the files cannot be written.
    """
    tenant = active_tenant()
    reason = check_text("reason", reason, length=REASON_LENGTH, required=True)
    with checkpoints.locked():
        findings, files = look()
        if not files:
            raise Refused(
                "there is nothing to acknowledge: the checkpoints agree with the database. For signals "
                "that cannot be sealed since a clock was wrong, add --clock"
            )
        now = heads.timestamp(timezone.now())
        seals = sorted({finding.seal for finding in findings if finding.seal})
        payload = {
            "reason": Personal(reason),
            "files": [file.name for file in files],
            "first_seal": seals[0] if seals else None,
            "last_seal": seals[-1] if seals else None,
            "seals": len(seals),
            "last_checkpoints": [_last(file) for file in files],
        }
        key = f"{ACKNOWLEDGED}:{tenant.slug}:{now}"
        # The signal first: without it the alarm stays.
        bus.emit(ACKNOWLEDGED, payload, dedupe_key=key, actor=actor, source="audit")
        aside = checkpoints.put_aside(files, "acknowledged")
    checkpoints.append(tenant)
    return aside


def look_at_clock() -> Wrong:
    """Return the signals that seals of the active tenant claim to cover and do not.

    A wrong clock may explain them.
    """
    newest, now = stored.newest_seal(), horizon.clock()
    late = stored.unsealed_before(newest.horizon, MAX_SHOWN) if newest else []
    sentences = [sealer.ahead(newest)] if newest and newest.horizon > now else []
    sentences += [f"signal {one.id} ({one.name}), recorded {one.recorded}, is in no seal" for one in late]
    total = late[0].total if late else 0
    if total > len(late):
        sentences.append(f"and {total - len(late)} more")
    return Wrong(sentences, late[0].recorded_at if late else now, total)


def acknowledge_clock(reason: str, *, actor: Actor) -> Seal:
    """Emit `audit.acknowledged`, take back what seals claim since a clock was wrong, and seal what is left.

    Returns:
        the empty seal that takes the claim back.

    Raises:
        KeyMissing: no key signs.
        Refused: there is no reason, nothing to acknowledge, or no horizon can be known now.
        OSError: the checkpoints cannot be written; the seals stay.
    """
    tenant = active_tenant()
    reason = check_text("reason", reason, length=REASON_LENGTH, required=True)
    with transaction.atomic(durable=True):
        sealer.begin()
        locks.wait_for_sealing()
        complete, wrong = horizon.look(), look_at_clock()
        last = stored.newest_seal()
        if last is None or not wrong.sentences:
            raise Refused("there is nothing to acknowledge: seals cover what they claim to cover")
        if complete.at is None:
            raise Refused(f"up to when seals are complete cannot be known now: {complete.obstacle}")
        since = min(wrong.since, complete.at)
        clock = {
            "seal": last.number,
            "claimed": heads.timestamp(last.horizon),
            "since": heads.timestamp(since),
            "signals": wrong.signals,
        }
        key = f"{ACKNOWLEDGED}:{tenant.slug}:clock:{last.number}"
        payload = {"reason": Personal(reason), "clock": clock}
        bus.emit(ACKNOWLEDGED, payload, dedupe_key=key, actor=actor, source="audit")
        taken_back = sealer.take_back(last, since)
    sealer.seal()
    return taken_back


def _last(file: Path) -> dict[str, object] | None:
    """Return number and hash of the last checkpoint that can be read."""
    last = None
    with suppress(checkpoints.Damaged):
        for checkpoint in checkpoints.read(file):
            last = checkpoint
    return {"number": last.head["number"], "hash": last.hash} if last else None
