"""Subcommands of `manage.py audit` for the log: `seal`, `verify`, `acknowledge` and `prune`."""

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from fleetprompt.cli.console import OperatorCommand, Row, progress
from fleetprompt.errors import Refused
from fleetprompt.tenants.context import in_tenant
from fleetprompt.tenants.models import Tenant
from signals.audit import pruning
from signals.audit.sealing import heads, keys, sealer
from signals.audit.sealing.sealer import Sealed
from signals.audit.verifying import acknowledging, outcomes, verification
from signals.audit.verifying.findings import MAX_SHOWN
from signals.audit.verifying.outcomes import Outcome
from signals.audit.verifying.verification import Report
from signals.cli import options as parse


def seal(command: OperatorCommand, options: dict[str, Any]) -> None:
    """Seal the signals that are in no seal yet."""
    rows, problems = [], []
    for slug in parse.tenants(options):
        with in_tenant(slug):
            try:
                done = sealer.seal()
            except keys.KeyUnusable:
                raise
            except Refused as error:
                # It stops no other tenant.
                done = Sealed(problem=str(error))
        rows.append({"tenant": slug, **asdict(done)})
        if done.problem:
            problems.append(f"{slug}: {done.problem}")
        if not done.agrees:
            problems.append(f"the checkpoints of {slug} disagree with the database: run audit verify")
        if options["format"] == "table" and (done.seals or not done.problem):
            command.stdout.write(_sealed_sentence(slug, done))
    _print_rows(command, options, rows)
    if problems:
        raise CommandError("; ".join(problems))


def verify(command: OperatorCommand, options: dict[str, Any]) -> None:
    """Recompute every seal; status 1 when there are findings."""
    file = Path(options["checkpoints"]) if options["checkpoints"] else None
    if file and options["all_tenants"]:
        raise CommandError("--checkpoints: expected together with --tenant")
    reports = []
    for slug in parse.tenants(options):
        with in_tenant(slug) as tenant, progress(f"Verifying {slug}", verification.expected()) as advance:
            try:
                reports.append(verification.verify(file=file, advance=advance))
            except OSError as error:
                raise CommandError(f"--checkpoints: {error.filename}: {error.strerror}") from None
            _keep(command, tenant, reports[-1])
        if options["format"] == "table":
            _print_report(command, reports[-1])
    _print_rows(command, options, [_report_row(report) for report in reports])
    if bad := [report.tenant for report in reports if report.findings]:
        raise CommandError(f"the signals of {', '.join(bad)} are not as they were sealed")


def _keep(command: OperatorCommand, tenant: Tenant, report: Report) -> None:
    """Keep the outcome for the doctor, if this user can write beside the checkpoints."""
    first = report.findings[0].text if report.findings else ""
    try:
        outcomes.keep(tenant, Outcome(timezone.now(), report.finding_count, first))
    except OSError as error:
        command.stderr.write(f"The doctor will not know of this verification: {error}")


def acknowledge(command: OperatorCommand, options: dict[str, Any]) -> None:
    """Put on record that seals were lost, such as by restoring an older backup, or that they claim too much
    because a clock was wrong.
    """
    with in_tenant(options["tenant"]) as tenant:
        actor = parse.actor(options["actor"])
        if options["clock"]:
            wrong = acknowledging.look_at_clock()
            sentences = wrong.sentences
            question = f"Seal {_count(wrong.signals, 'such signal')} as they are now?"
        else:
            findings, _ = acknowledging.look()
            sentences = [finding.text for finding in findings[:MAX_SHOWN]]
            question = "Accept this loss?"
        for sentence in sentences:
            command.stderr.write(sentence)
        if sentences and not options["yes"]:
            command.confirm(f"{question} Type the slug: ", options["tenant"], "Not acknowledged")
        if options["clock"]:
            seal = acknowledging.acknowledge_clock(options["reason"], actor=actor)
            row: Row = {"taken_back": seal.number, "since": heads.timestamp(seal.horizon)}
            text = f"Seal {seal.number} takes back claims since {row['since']}."
        else:
            aside = [str(file) for file in acknowledging.acknowledge(options["reason"], actor=actor)]
            row, text = {"put_aside": aside}, f"Put aside: {', '.join(aside)}"
    parse.answer(command, options, {"tenant": tenant.slug, **row}, f"Acknowledged. {text}")


def prune(command: OperatorCommand, options: dict[str, Any]) -> None:
    """Remove old signals permanently, whole seals at a time; the seals stay and can be verified."""
    before = parse.moment("--before", options["before"])
    with in_tenant(options["tenant"]) as tenant:
        actor = parse.actor(options["actor"])
        planned = pruning.plan(before)
        has_seals = planned.last_seal >= planned.first_seal
        seals = _numbers(planned.first_seal, planned.last_seal)
        words = f"the {_count(planned.signals, 'signal')} of {seals}"
        is_pruned = has_seals and not options["dry_run"]
        if is_pruned:
            if not options["yes"]:
                question = f"Remove {words} of tenant {tenant.slug} for good? Type the slug: "
                command.confirm(question, tenant.slug, "Not pruned")
            pruning.prune(planned, before, actor=actor)
    row = asdict(planned) if has_seals else {"first_seal": None, "last_seal": None, "signals": 0}
    text = "No seal has only signals that were recorded before that time."
    if has_seals:
        text = f"Removed {words}; the seals are kept." if is_pruned else f"Would remove {words}."
    parse.answer(command, options, {"tenant": tenant.slug, "pruned": is_pruned, **row}, text)


def _print_rows(command: OperatorCommand, options: dict[str, Any], rows: list[Row]) -> None:
    """Print the rows if the format is JSON."""
    if options["format"] == "json":
        command.print_json(rows)
    elif not rows:
        command.stdout.write("There are no tenants yet.")


def _sealed_sentence(slug: str, done: Sealed) -> str:
    what = "another process is sealing" if done.busy else "nothing is new"
    if done.seals:
        what = f"{_count(done.signals, 'signal')} in {_numbers(done.seals[0], done.seals[-1])}"
    obstacle = f" Completeness could not be claimed: {done.obstacle}." if done.obstacle else ""
    return f"{slug}: {what}.{obstacle}"


def _report_row(report: Report) -> Row:
    row = asdict(report)
    times = {name: row[name] and heads.timestamp(row[name]) for name in ("complete_until", "pruned_before")}
    return {"tenant": row.pop("tenant"), "intact": not report.findings, **row, **times}


def _print_report(command: OperatorCommand, report: Report) -> None:
    say, slug = command.stdout.write, report.tenant
    if report.pruned_seals:
        say(
            f"{slug}: seals 1–{report.pruned_seals}, {report.pruned_signals:,} signals "
            f"recorded before {_time(report.pruned_before)}: pruned."
        )
    complete = f", complete up to {_time(report.complete_until)}" if report.complete_until else ""
    seals = report.seals - report.pruned_seals
    say(
        f"{slug}: {_count(report.signals, 'signal')} in {_count(seals, 'seal')}{complete}; "
        f"{report.unsealed:,} not sealed yet."
    )
    if report.erased:
        say(f"{slug}: {_count(report.erased, 'signal')} had personal values erased.")
    for number in report.taken_back:
        say(
            f"{slug}: seal {number} took back what seals before it claim since a clock was wrong; "
            "the next one covers that time, and a signal audit.acknowledged says why."
        )
    if report.checkpoints is None and report.seals:
        say("There are no checkpoints on this machine: a restored older backup would not be noticed.")
    elif report.checkpoints and report.checkpointed < report.seals:
        say(f"{report.checkpoints} knows seals up to {report.checkpointed} of {report.seals}.")
    for finding in report.findings:
        say(f"FOUND: {finding.text}.")
    if more := report.finding_count - len(report.findings):
        say(f"… and {more:,} more.")
    if not report.findings:
        say(f"{slug}: everything is as it was sealed." if report.seals else "Nothing is sealed yet.")


def _numbers(first: int, last: int) -> str:
    return f"seal {first}" if first == last else f"seals {first}–{last}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _time(value: datetime | None) -> str:
    return f"{timezone.localtime(value):%Y-%m-%d %H:%M:%S.%f %Z}"
