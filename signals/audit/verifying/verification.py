"""Verification: recomputes everything that seals promise about a tenant's signals."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

from django.db import connection, transaction
from django.db.models import Max, Sum

from fleetprompt.errors import Refused
from fleetprompt.postgres.queries import fetch_all
from fleetprompt.tenants import schemas
from fleetprompt.tenants.context import active_schema, active_tenant
from fleetprompt.tenants.models import Tenant
from signals import sql
from signals.audit.format import openings
from signals.audit.sealing import checkpoints, heads, horizon, keys, locks, sealer, stored
from signals.audit.sealing.keys import PublicKeys
from signals.audit.verifying import chain
from signals.audit.verifying.findings import MAX_SHOWN, Finding
from signals.audit.verifying.walk import Walk
from signals.models import Pruning, Seal
from signals.storage import tables, triggers


@dataclass
class Report:
    """The result of a verification.

    Args:
        tenant: the tenant's slug.
        seals: the number of seals.
        signals: the number of sealed signals that were recomputed.
        unsealed: the number of signals that are in no seal yet.
        erased: the number of signals whose personal values were erased.
        complete_until: every signal recorded before it is covered by a seal.
        taken_back: the seals that take back what others claim about the time since their horizons.
        pruned_seals: the seals up to this number have no signals any more; 0 when none was pruned.
        pruned_signals: the number of signals that these had.
        pruned_before: the time before which they were recorded.
        checkpoints: the file of checkpoints that was compared, if there is one on this machine.
        checkpointed: the number of the last seal in that file.
        finding_count: the number of differences from what was sealed.
        findings: the first of them.
    """

    tenant: str
    seals: int = 0
    signals: int = 0
    unsealed: int = 0
    erased: int = 0
    complete_until: datetime | None = None
    taken_back: list[int] = field(default_factory=list)
    pruned_seals: int = 0
    pruned_signals: int = 0
    pruned_before: datetime | None = None
    checkpoints: Path | None = None
    checkpointed: int = 0
    finding_count: int = 0
    findings: list[Finding] = field(default_factory=list)

    def add(self, found: Iterable[Finding]) -> None:
        """Count findings as they come, and keep the first."""
        for finding in found:
            self.finding_count += 1
            if len(self.findings) < MAX_SHOWN:
                self.findings.append(finding)


def verify(
    *, file: Path | None = None, advance: Callable[[int], None] = lambda step: None, last: int | None = None
) -> Report:
    """Check the active tenant's signals against their seals; emitting and sealing go on meanwhile.

    Args:
        file: checkpoints to compare with; this machine's by default.
        advance: is called with the number of signals that were recomputed since the last call.
        last: the number of the last seal to check; then unsealed signals are not checked.

    Raises:
        Refused: no public key is known, or `file` has no checkpoint of the tenant.
        OSError: `file` cannot be read.
    """
    tenant, trusted = active_tenant(), keys.trusted_keys()
    with locks.reading():
        newest = Seal.objects.filter(**({"number__lte": last} if last else {})).order_by("-number").first()
        report = Report(tenant.slug, seals=newest.number if newest else 0)
        past = Seal.objects.filter(number__lte=report.seals, horizon__lte=horizon.clock())
        reached = past.order_by("-number").first()
        report.complete_until = reached.horizon if reached else None
        report.add(_check_tables())
        links = (heads.of(seal, tenant) for seal in stored.seals(last=report.seals))
        report.add(chain.check(links, trusted, "seal"))
        _check_prunings(report, tenant, trusted)
        _check_checkpoints(report, tenant, file)
        before = None
        for seal in stored.seals(last=report.seals):
            if seal.number > report.pruned_seals:
                walk = Walk(tenant, seal)
                for rows in stored.parts(seal, before):
                    for row in rows:
                        walk.step(row)
                    advance(len(rows))
                report.add(walk.end())
                report.signals += seal.size
                report.erased += walk.erased
            if before and seal.horizon < before and not seal.size:
                report.taken_back.append(seal.number)
            before = seal.horizon
        if last is None:
            report.add(_stray_entries(report))
            _check_unsealed(report, None if newest == reached else newest)
            report.add(_check_unsealed_personal(report))
    return report


def expected() -> int:
    """Return the number of signals that a verification of the active tenant recomputes."""
    pruned = Pruning.objects.aggregate(last=Max("last_seal"))["last"] or 0
    return Seal.objects.filter(number__gt=pruned).aggregate(all=Sum("size"))["all"] or 0


def _check_tables() -> Iterator[Finding]:
    """Yield what may hide rows from the program, or lose them, although every visible row fits its seal."""
    schema = active_schema()
    if schemas.missing_migrations([schema])[schema] != []:
        yield Finding("tables", "migrations are missing, so tables were not compared: run migrate_schemas")
        return
    for deviation in [*tables.deviations([schema])[schema], *triggers.deviations([schema])[schema]]:
        yield Finding("tables", deviation.text)


def _check_prunings(report: Report, tenant: Tenant, trusted: PublicKeys) -> None:
    prunings = stored.prunings(tenant)
    problems = [*chain.check(prunings, trusted, "pruning"), *chain.check_pruned(prunings, tenant)]
    report.add(problems)
    if prunings and not problems:
        newest = Pruning.objects.latest("number")
        report.pruned_seals, report.pruned_before = newest.last_seal, newest.before
        report.pruned_signals = sum(pruning.head["signals"] for pruning in prunings)


def _check_checkpoints(report: Report, tenant: Tenant, file: Path | None) -> None:
    mine = file or checkpoints.path(tenant)
    if foreign := checkpoints.foreign():
        if file is None:
            report.add([Finding("checkpoints", foreign)])
            return
    else:
        report.add(map(chain.earlier_tenant, checkpoints.others(tenant)))
    if file or mine.exists():
        found = list(chain.check_checkpoints(tenant, mine, partial(setattr, report, "checkpointed")))
        report.add(found)
        if file and not found and not report.checkpointed:
            raise Refused(f"--checkpoints: {file} has no checkpoint: it is empty, or cut off")
        report.checkpoints = mine if found or report.checkpointed else None


def _stray_entries(report: Report) -> Iterator[Finding]:
    """Yield entries whose seal is gone, or whose signals were pruned and exist again."""
    for seal, count in fetch_all(sql.STRAY_ENTRIES, report.pruned_seals):
        is_pruned = seal <= report.pruned_seals
        why = "were pruned and are there again" if is_pruned else "are left of a seal that is gone"
        yield Finding("entries", f"{count} entries of seal {seal} {why}", seal=seal)


def _check_unsealed(report: Report, ahead: Seal | None) -> None:
    """Count the unsealed signals; those that the newest seal would have to cover were inserted.

    Args:
        ahead: the newest seal, if it claims a time that has not come.
    """
    params = [report.complete_until, ahead.horizon if ahead else None]
    [[inserted, covered, unsealed]] = fetch_all(sql.COUNT_UNSEALED, *params)
    report.unsealed = unsealed - inserted
    if ahead:
        since = f"{covered - inserted} signals since" if covered - inserted != 1 else "one signal since"
        text = f"{sealer.ahead(ahead)}; {since} cannot be sealed, nor be told from inserted ones"
        report.add([Finding("clock", text, seal=ahead.number)])
    found = stored.unsealed_before(report.complete_until, MAX_SHOWN) if inserted else []
    for one in found:
        text = (
            f"signal {one.id} ({one.name}) was inserted; seal {one.seal} covers everything up to its time, "
            f"{one.recorded}"
        )
        report.add([Finding("inserted", text, one.id, one.name, one.seal)])
    report.finding_count += inserted - len(found)


def _check_unsealed_personal(report: Report) -> Iterator[Finding]:
    """Yield what is wrong with the personal values of unsealed signals, and count the erased ones."""
    with transaction.atomic(), connection.chunked_cursor() as cursor:
        cursor.execute(sql.UNSEALED_PERSONAL, {"since": report.complete_until})
        for pk, name, data, personal in cursor:
            if personal is None:
                report.erased += openings.is_committed(data)
            elif wrong := openings.stored_problem(data, personal):
                yield Finding("personal", f"signal {pk} ({name}), in no seal yet: {wrong}", pk, name)
