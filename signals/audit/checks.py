"""Checks of the audit log: whether signals are sealed, and what keeps them from it."""

import os
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.core import checks

from fleetprompt.checkup import Findings, Tenants, Where, active, database, setting
from fleetprompt.errors import Refused
from fleetprompt.tenants import schemas
from signals.audit import horizon, keys

LATE = timedelta(minutes=10)
"""How old a signal may be that is not sealed: clusters seal every minute."""

_TABLES = ("signals_signal", "signals_seal", "signals_sealentry")
# What was recorded before the newest seal's horizon is sealed. Any row that there can be is readable.
_UNSEALED = """
    SELECT least(greatest(s.recorded_at, '0001-01-02Z'), '9999-12-30Z')
    FROM {schema}.signals_signal AS s
    WHERE s.recorded_at >= coalesce((SELECT max(horizon) FROM {schema}.signals_seal), '-infinity')
        AND s.recorded_at < clock_timestamp() - %(late)s
        AND NOT EXISTS (SELECT FROM {schema}.signals_sealentry AS e WHERE e.signal_id = s.id)
    ORDER BY s.recorded_at LIMIT 1
"""


@setting("a key signs seals", deploy=True)
def key() -> Findings:
    """In development one is made on first use, which a look must not do."""
    if settings.AUDIT_KEY_FILE and not settings.AUDIT_KEY:
        return
    try:
        keys.private_key()
    except Refused as error:
        yield checks.Error(
            f"signals are not sealed: {error}",
            hint="Make a key with `manage.py audit generate-key`, and set AUDIT_KEY for every cluster.",
            id="signals.E010",
        )


@setting("checkpoints can be written", deploy=True)
def folder() -> Findings:
    """Whoever seals appends to them; as root, `audit seal` leaves files that a cluster cannot append to."""
    if refused := _refused(Path(settings.AUDIT_FOLDER)):
        yield checks.Warning(
            f"checkpoints of seals cannot be written by this user: {Where(refused)}",
            hint="Give AUDIT_FOLDER and its files to the user that clusters run as (chown -R), and seal as "
            "no other one.",
            id="signals.W010",
        )


@database("seals can say up to when they are complete")
def complete(tenants: Tenants) -> Findings:
    """Without a horizon, nobody notices a signal that was inserted among earlier ones."""
    what, _, mend = horizon.look().obstacle.partition("; ")
    if what:
        yield checks.Warning(
            f"seals cannot say up to when they are complete: {what}",
            hint=f"{mend or 'End them'}; until then, a signal inserted among earlier ones is not noticed.",
            id="signals.W011",
        )


@database("signals are sealed")
def unsealed(tenants: Tenants) -> Findings:
    """What is not sealed can be changed without anybody noticing."""
    read = schemas.read_each(active(tenants), _TABLES, _UNSEALED, {"late": LATE})
    found = {tenants[schema]: rows[0][0] for schema, rows in read.items() if rows}
    if found:
        yield checks.Warning(
            f"signals are not sealed, the oldest since {min(found.values()):%Y-%m-%d %H:%M:%S %Z}",
            hint="Start a cluster, which seals every minute, or run `manage.py audit seal --all-tenants`.",
            obj=Where(found),
            id="signals.W012",
        )


def _refused(folder: Path) -> list[str]:
    """Return what of the folder this process may not write, or what keeps it from making the folder."""
    if not folder.exists():
        nearest = next(parent for parent in folder.parents if parent.exists())
        return [] if _may(nearest, os.W_OK | os.X_OK) else [f"{folder} (in {nearest})"]
    if not _may(folder, os.R_OK | os.W_OK | os.X_OK):
        return [str(folder)]
    files = [folder / ".lock", *sorted(folder.glob("*.jsonl"))]
    return [str(file) for file in files if file.exists() and not _may(file, os.R_OK | os.W_OK)]


def _may(path: Path, mode: int) -> bool:
    needs_folder = bool(mode & os.X_OK)
    return path.is_dir() == needs_folder and os.access(
        path, mode, effective_ids=os.access in os.supports_effective_ids
    )
