"""Checks of the audit log: the key, the checkpoints, unsealed signals, the newest seals, verification."""

import os
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from django.conf import settings
from django.core import checks
from django.utils import timezone

from fleetprompt.errors import Refused
from fleetprompt.health.checkup import Findings, Tenants, Where, active, database, setting
from fleetprompt.tenants import schemas
from fleetprompt.tenants.models import Tenant
from signals import sql
from signals.audit.sealing import checkpoints, heads, horizon, keys, sealer
from signals.audit.verifying import outcomes
from signals.models import Seal

MAX_UNSEALED_AGE = timedelta(minutes=10)
"""The age of a signal up to which it may be unsealed: clusters seal every minute."""
MAX_VERIFICATION_AGE = timedelta(days=2)
"""The age of the last verification without a warning: it belongs in a nightly job."""
RECENT_SEALS = 1_440
"""Seals whose keys the doctor checks: a day's, where each minute has one."""

_COLUMNS = [str(field.column) for field in Seal._meta.concrete_fields]
_NEWEST = sql.NEWEST_SEALS.format(columns=", ".join(_COLUMNS), schema="{schema}")


@setting("a key signs seals", deploy=True)
def key() -> Findings:
    """Check that a key can sign; in development the first seal makes one, and a check must not."""
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
    """Check that this user can append: after `audit seal` as root, a cluster cannot."""
    if refused := _refused(settings.AUDIT_FOLDER):
        yield checks.Warning(
            f"checkpoints of seals cannot be written by this user: {Where(refused)}",
            hint="Give AUDIT_FOLDER and its files to the user that clusters run as (chown -R), and seal as "
            "no other one.",
            id="signals.W010",
        )


@database("seals can say up to when they are complete")
def complete(tenants: Tenants) -> Findings:
    """Check that a horizon is known; without it, a signal inserted among earlier ones is not noticed."""
    what, _, mend = horizon.look().obstacle.partition("; ")
    if what:
        yield checks.Warning(
            f"seals cannot say up to when they are complete: {what}",
            hint=f"{mend or 'End them'}; until then, a signal inserted among earlier ones is not noticed.",
            id="signals.W011",
        )


@database("signals are sealed")
def unsealed(tenants: Tenants) -> Findings:
    """Check the age of unsealed signals, which can be changed unnoticed."""
    tables = ("signals_signal", "signals_seal", "signals_sealentry")
    read = schemas.read_each(active(tenants), tables, sql.OLDEST_UNSEALED, {"late": MAX_UNSEALED_AGE})
    found = {tenants[schema]: rows[0][0] for schema, rows in read.items() if rows}
    if found:
        yield checks.Warning(
            f"signals are not sealed, the oldest since {min(found.values()):%Y-%m-%d %H:%M:%S %Z}",
            hint="Start a cluster, which seals every minute, or run `manage.py audit seal --all-tenants`.",
            obj=Where(found),
            id="signals.W012",
        )


@database("the newest seals fit their signatures, and claim no time to come")
def newest(tenants: Tenants) -> Findings:
    """Check the newest seal, and the keys of recent ones; `audit verify` recomputes everything."""
    trusted = keys.trusted_keys()
    values = {"keys": list(trusted), "recent": RECENT_SEALS}
    read = schemas.read_each(tenants, ("signals_seal",), _NEWEST, values)
    known = {tenant.schema_name: tenant for tenant in Tenant.objects.filter(schema_name__in=tenants)}
    for schema, tenant in known.items():
        for *row, is_ahead in read[schema] or []:
            seal = Seal.from_db(None, _COLUMNS, row)
            if problem := heads.of(seal, tenant).problem(trusted):
                text = f"seal {seal.number} {problem}"
                hint = (
                    "Where the key was exchanged, put the old public key into AUDIT_PUBLIC_KEYS; otherwise "
                    "run `manage.py audit verify`: it was written without the key."
                )
            elif is_ahead:
                text = f"{sealer.ahead(seal)}; nothing is sealed until then"
                hint = (
                    "Set the clocks right, then `manage.py audit acknowledge --clock --tenant SLUG "
                    "--reason TEXT`."
                )
            else:
                continue
            yield checks.Error(text, hint=hint, obj=Where([tenant.slug]), id="signals.E012")
            break


@database("the last verification found everything as it was sealed")
def verified(tenants: Tenants) -> Findings:
    """Report the last verification on this machine; a new one would read every signal."""
    read = schemas.read_each(tenants, ("signals_seal",), sql.FIRST_SEALED_AT)
    never = {tenants[schema]: rows[0][0] for schema, rows in read.items() if rows}
    good: dict[str, datetime] = {}
    ahead: dict[str, datetime] = {}
    for tenant in Tenant.objects.filter(slug__in=list(never)):
        last = outcomes.last(tenant)
        if last is None:
            continue
        del never[tenant.slug]
        if not last.findings:
            (ahead if last.at > timezone.now() + horizon.MAX_AHEAD else good)[tenant.slug] = last.at
            continue
        yield checks.Error(
            f"audit verify of {last.at:%Y-%m-%d %H:%M %Z} found what does not fit ({last.findings}): "
            f"{last.first}",
            hint="Find out what was done (docs/guides/verify-the-audit-trail.md); after that run "
            "`manage.py audit verify` again.",
            obj=Where([tenant.slug]),
            id="signals.E013",
        )
    yield from _verified("signals were never verified on this machine, the first is sealed since {}", never)
    yield from _verified("signals were as they were sealed when they were verified last, on {}", good)
    if ahead:
        yield checks.Warning(
            f"the last verification is dated {max(ahead.values()):%Y-%m-%d %H:%M %Z}, which has not come "
            "yet: a clock was ahead, and the time of the verification is not known",
            hint="Set the clock right, then run `manage.py audit verify --all-tenants`.",
            obj=Where(sorted(ahead)),
            id="signals.W013",
        )


@database("checkpoints are those of this database")
def owner(tenants: Tenants) -> Findings:
    """Check the owner of the folder: seals of another database would look like removed ones."""
    try:
        foreign = checkpoints.foreign()
    except OSError:
        return  # `folder` reports it.
    if foreign:
        yield checks.Error(
            foreign,
            hint="Where the database was replaced, and by no dump of it: `manage.py audit acknowledge`.",
            id="signals.E011",
        )


def _verified(text: str, times: Mapping[str, datetime]) -> Findings:
    """Yield a warning for tenants whose time is long ago, and a note for the others."""
    long_ago = timezone.now() - MAX_VERIFICATION_AGE
    for kind, number, slugs in (
        (checks.Warning, "W013", [slug for slug, at in times.items() if at < long_ago]),
        (checks.Info, "I013", [slug for slug, at in times.items() if at >= long_ago]),
    ):
        if slugs:
            yield kind(
                text.format(f"{min(times[slug] for slug in slugs):%Y-%m-%d %H:%M %Z}"),
                hint="Run `manage.py audit verify --all-tenants` each night.",
                obj=Where(sorted(slugs)),
                id=f"signals.{number}",
            )


def _refused(folder: Path) -> list[str]:
    """Return the files that this process cannot write, or the folder that it cannot make or use."""
    may = partial(os.access, effective_ids=os.access in os.supports_effective_ids)
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not nearest.is_dir() or not may(nearest, os.W_OK | os.X_OK | (os.R_OK if nearest == folder else 0)):
        return [str(folder) if nearest == folder else f"{folder} (in {nearest})"]
    files = [file for file in (folder / ".lock", *sorted(folder.glob("*.jsonl"))) if file.exists()]
    return [str(file) for file in files if file.is_dir() or not may(file, os.R_OK | os.W_OK)]
