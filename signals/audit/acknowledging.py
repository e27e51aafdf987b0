"""Says on the record that seals were lost honestly, such as by restoring an older backup."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from django.utils import timezone

from fleetprompt.errors import Refused
from fleetprompt.tenants.context import active_tenant
from signals import bus
from signals.audit import chain, checkpoints, heads
from signals.audit.findings import Finding
from signals.types import Actor, check_text

REASON_LENGTH = 1_000
ACKNOWLEDGED = "audit.acknowledged"
"""The signal that this leaves."""


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
            raise Refused("there is nothing to acknowledge: the checkpoints agree with the database")
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


def _last(file: Path) -> dict[str, object] | None:
    """Return the last checkpoint that can be read."""
    last = None
    with suppress(checkpoints.Damaged):
        for checkpoint in checkpoints.read(file):
            last = checkpoint
    return {"number": last.head["number"], "hash": last.hash} if last else None
