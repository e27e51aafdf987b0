"""Recomputes everything that seals promise about a tenant's signals, and says what does not fit."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

from django.db import connection
from django.db.models import Max, Sum

from fleetprompt.errors import Refused
from fleetprompt.tenants import schemas
from fleetprompt.tenants.context import active_schema, active_tenant
from fleetprompt.tenants.models import Tenant
from signals.audit.format import events
from signals.audit.models import Pruning, Seal
from signals.audit.publishing import checkpoints
from signals.audit.publishing.checkpoints import CHUNK
from signals.audit.sealing import horizon, keys, locks, sealer
from signals.audit.sealing.keys import PublicKeys
from signals.audit.verifying import chain
from signals.audit.verifying.findings import SHOWN, Finding, Findings
from signals.audit.verifying.walk import LOOSE, Walk, parts
from signals.storage import tables, triggers

_INSERTED = f"""
    SELECT s.id::text, s.name, {events.RECORDED_TEXT},
        (SELECT coalesce(max(number), 0) + 1 FROM signals_seal WHERE horizon <= s.recorded_at)
    {LOOSE} AND s.recorded_at < %s ORDER BY s.recorded_at, s.id LIMIT %s
"""  # noqa: S608 the module's own columns
_COUNT = f"""
    SELECT count(*) FILTER (WHERE s.recorded_at < %s), count(*) FILTER (WHERE s.recorded_at < %s), count(*)
    {LOOSE}
"""
_STRAY = """
    SELECT e.seal, count(*) FROM signals_sealentry AS e LEFT JOIN signals_seal AS s ON s.number = e.seal
    WHERE s.number IS NULL OR e.seal <= %s GROUP BY e.seal ORDER BY e.seal
"""


@dataclass
class Report:
    """What a verification came to.

    Args:
        tenant: the tenant's slug.
        seals: how many seals there are.
        signals: how many sealed signals were recomputed.
        unsealed: signals that are in no seal yet.
        horizon: every signal recorded before it is covered by a seal.
        taken_back: the seals that take back what others claim about the time since their horizons.
        pruned_seals: the seals up to this number have no signals any more; 0 when none was pruned.
        pruned_signals: how many signals these had.
        pruned_before: the time before which they were recorded.
        checkpoints: the file that was compared with, if there is one on this machine.
        checkpointed: up to which seal that file goes.
        findings: what does not fit.
    """

    tenant: str
    seals: int = 0
    signals: int = 0
    unsealed: int = 0
    horizon: datetime | None = None
    taken_back: list[int] = field(default_factory=list)
    pruned_seals: int = 0
    pruned_signals: int = 0
    pruned_before: datetime | None = None
    checkpoints: Path | None = None
    checkpointed: int = 0
    findings: Findings = field(default_factory=Findings)


def verify(
    *, file: Path | None = None, advance: Callable[[int], None] = lambda step: None, last: int | None = None
) -> Report:
    """Check the active tenant's signals against their seals, while others go on emitting and sealing.

    Args:
        file: checkpoints to compare with; this machine's by default.
        advance: is told how many signals were recomputed since it was told last.
        last: the number of the last seal to look at; then what is in no seal is not looked at.

    Raises:
        NoActiveTenant: called outside `in_tenant`.
        Refused: no public key is known, or `file` has no checkpoint of the tenant.
        OSError: `file` cannot be read.
    """
    tenant, trusted = active_tenant(), keys.trusted_keys()
    with locks.reading():
        newest = Seal.objects.filter(**({"number__lte": last} if last else {})).order_by("-number").first()
        report = Report(tenant.slug)
        report.seals = newest.number if newest else 0
        ahead = _check_clock(report, newest)
        found = report.findings
        found.add(_check_tables())
        found.add(chain.check_seals(chain.stored_seals(tenant, report.seals), trusted))
        _check_prunings(report, tenant, trusted)
        _check_checkpoints(report, tenant, file)
        before = None
        for seal in Seal.objects.filter(number__lte=report.seals).order_by("number").iterator(CHUNK):
            if seal.number > report.pruned_seals:
                found.add(_check_seal(tenant, seal, before, advance))
                report.signals += seal.size
            if before and seal.horizon < before and not seal.size:
                report.taken_back.append(seal.number)
            before = seal.horizon
        if last is None:
            found.add(_stray_entries(report))
            _check_loose(report, ahead)
    return report


def expected() -> int:
    """Return how many signals a verification of the active tenant has to recompute."""
    pruned = Pruning.objects.aggregate(last=Max("last_seal"))["last"] or 0
    return Seal.objects.filter(number__gt=pruned).aggregate(all=Sum("size"))["all"] or 0


def _check_tables() -> Iterator[Finding]:
    """Yield what may hide rows from the program, or lose them, although every row there fits its seal."""
    schema = active_schema()
    if schemas.missing_migrations([schema])[schema] != []:
        yield Finding("tables", "migrations are missing, so tables were not compared: run migrate_schemas")
        return
    for deviation in [*tables.deviations([schema])[schema], *triggers.deviations([schema])[schema]]:
        yield Finding("tables", deviation.text)


def _check_prunings(report: Report, tenant: Tenant, trusted: PublicKeys) -> None:
    prunings = list(chain.stored_prunings(tenant))
    problems = [*chain.check_prunings(prunings, trusted), *chain.check_pruned(prunings, tenant)]
    report.findings.add(problems)
    if prunings and not problems:
        newest = Pruning.objects.latest("number")
        report.pruned_seals, report.pruned_before = newest.last_seal, newest.before
        report.pruned_signals = sum(pruning.head["signals"] for pruning in prunings)


def _check_checkpoints(report: Report, tenant: Tenant, file: Path | None) -> None:
    mine = file or checkpoints.path(tenant)
    if foreign := checkpoints.foreign():
        if file is None:
            report.findings.add([Finding("checkpoints", foreign)])
            return
    else:
        report.findings.add(map(chain.earlier_tenant, checkpoints.others(tenant)))
    if file or mine.exists():
        found = list(chain.check_checkpoints(tenant, mine, partial(setattr, report, "checkpointed")))
        report.findings.add(found)
        if file and not found and not report.checkpointed:
            raise Refused(f"--checkpoints: {file} has no checkpoint: it is empty, or cut off")
        report.checkpoints = mine if found or report.checkpointed else None


def _check_seal(
    tenant: Tenant, seal: Seal, before: datetime | None, advance: Callable[[int], None]
) -> list[Finding]:
    walk = Walk(tenant, seal)
    for rows in parts(seal, before):
        for row in rows:
            walk.step(row)
        advance(len(rows))
    return walk.end()


def _stray_entries(report: Report) -> Iterator[Finding]:
    """Yield entries whose seal is gone, or whose signals were pruned and stand there again."""
    with connection.cursor() as cursor:
        cursor.execute(_STRAY, [report.pruned_seals])
        for seal, count in cursor.fetchall():
            is_pruned = seal <= report.pruned_seals
            why = "were pruned and are there again" if is_pruned else "are left of a seal that is gone"
            yield Finding("entries", f"{count} entries of seal {seal} {why}", seal=seal)


def _check_clock(report: Report, newest: Seal | None) -> Seal | None:
    """Note up to when the log is complete; return the newest seal if it claims a time that has not come."""
    if newest is None or newest.horizon <= horizon.clock():
        report.horizon = newest.horizon if newest else None
        return None
    kept = Seal.objects.filter(number__lt=newest.number, horizon__lte=horizon.clock())
    last = kept.order_by("-number").first()
    report.horizon = last.horizon if last else None
    return newest


def _check_loose(report: Report, ahead: Seal | None) -> None:
    """Look at the signals in no seal: what the newest seal would have to cover was inserted."""
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, [report.horizon, ahead.horizon if ahead else None])
        inserted, covered, loose = cursor.fetchone()
        report.unsealed = loose - inserted
        if ahead:
            report.findings.add([_clock(ahead, covered - inserted)])
        if not inserted:
            return
        cursor.execute(_INSERTED, [report.horizon, SHOWN])
        rows = cursor.fetchall()
    for pk, name, time, seal in rows:
        text = f"signal {pk} ({name}) was inserted; seal {seal} covers everything up to its time, {time}"
        report.findings.add([Finding("inserted", text, pk, name, seal)])
    report.findings.count += inserted - len(rows)


def _clock(ahead: Seal, covered: int) -> Finding:
    since = f"{covered} signals since" if covered != 1 else "one signal since"
    text = f"{sealer.ahead(ahead)}; {since} cannot be sealed, nor be told from inserted ones"
    return Finding("clock", text, seal=ahead.number)
