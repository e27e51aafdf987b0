"""The subcommands that seal and verify: `seal`, `verify` and `acknowledge`; and those about keys."""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from fleetprompt.cli.console import OperatorCommand, Row, progress
from fleetprompt.errors import Refused
from fleetprompt.tenants.context import in_tenant
from fleetprompt.tenants.models import Tenant
from signals.audit.format import heads
from signals.audit.sealing import keys, sealer
from signals.audit.sealing.sealer import Sealed
from signals.audit.verifying import acknowledging, outcomes, verification
from signals.audit.verifying.outcomes import Outcome
from signals.audit.verifying.verification import Report
from signals.cli import options as parse


def seal(command: OperatorCommand, options: dict[str, Any]) -> None:
    """Seal what is new."""
    rows, problems = [], []
    for slug in parse.tenants(options):
        with in_tenant(slug):
            done = _written(_seal)
        rows.append(_sealed_row(slug, done))
        if done.problem:
            problems.append(f"{slug}: {done.problem}")
        if not done.agrees:
            problems.append(f"the checkpoints of {slug} disagree with the database: run audit verify")
        if options["format"] == "table" and (done.seals or not done.problem):
            command.stdout.write(_sealed_sentence(slug, done))
    _print_rows(command, options, rows)
    if problems:
        raise CommandError("; ".join(problems))


def _seal() -> Sealed:
    """Seal the active tenant; what keeps it from that keeps no other tenant."""
    try:
        return sealer.seal()
    except keys.KeyUnusable:
        raise
    except Refused as error:
        return Sealed(problem=str(error))


def verify(command: OperatorCommand, options: dict[str, Any]) -> None:
    """Recompute everything; end with status 1 when something does not fit."""
    file = Path(options["checkpoints"]) if options["checkpoints"] else None
    if file and options["all_tenants"]:
        raise CommandError("--checkpoints: expected together with --tenant")
    reports = []
    for slug in parse.tenants(options):
        with in_tenant(slug) as tenant, progress(f"Verifying {slug}", verification.expected()) as advance:
            reports.append(_readable(lambda: verification.verify(file=file, advance=advance)))
            _keep(command, tenant, reports[-1])
        if options["format"] == "table":
            _print_report(command, reports[-1])
    _print_rows(command, options, [_report_row(report) for report in reports])
    if bad := [report.tenant for report in reports if report.findings.count]:
        raise CommandError(f"the signals of {', '.join(bad)} are not as they were sealed")


def _keep(command: OperatorCommand, tenant: Tenant, report: Report) -> None:
    """Keep the outcome for the doctor, where this user may write beside the checkpoints."""
    found = report.findings
    first = found.first[0].text if found.first else ""
    try:
        outcomes.keep(tenant, Outcome(timezone.now(), report.seals, found.count, first))
    except OSError as error:
        command.stderr.write(f"The doctor will not know of this: {error}")


def acknowledge(command: OperatorCommand, options: dict[str, Any]) -> None:
    """Put checkpoints aside that know more than the database, after a question unless `--yes` was given.

    With `--clock` take back what seals claim since a clock was wrong, and seal what that left out.
    """
    if options["clock"]:
        _acknowledge_clock(command, options)
        return
    with in_tenant(options["tenant"]) as tenant:
        actor = parse.actor(options["actor"])
        loss = acknowledging.look()
        for finding in loss.findings[:20]:
            command.stderr.write(finding.text)
        if loss.files and not options["yes"]:
            command.confirm("Accept this loss? Type the slug: ", tenant.slug, "Not acknowledged")
        aside = _written(lambda: acknowledging.acknowledge(options["reason"], actor=actor))
    if options["format"] == "json":
        command.print_json({"tenant": tenant.slug, "put_aside": [str(file) for file in aside]})
    else:
        command.stdout.write(f"Acknowledged. Put aside: {', '.join(map(str, aside))}")


def _acknowledge_clock(command: OperatorCommand, options: dict[str, Any]) -> None:
    with in_tenant(options["tenant"]) as tenant:
        actor = parse.actor(options["actor"])
        wrong = acknowledging.look_at_clock()
        for sentence in wrong.sentences:
            command.stderr.write(sentence)
        if wrong.sentences and not options["yes"]:
            command.confirm(
                f"Seal {_count(wrong.signals, 'such signal')} as they are now? Type the slug: ",
                tenant.slug,
                "Not acknowledged",
            )
        taken_back = _written(lambda: acknowledging.acknowledge_clock(options["reason"], actor=actor))
    since = heads.moment(taken_back.horizon)
    if options["format"] == "json":
        command.print_json({"tenant": tenant.slug, "taken_back": taken_back.number, "since": since})
    else:
        command.stdout.write(f"Acknowledged. Seal {taken_back.number} takes back claims since {since}.")


def public_key(command: OperatorCommand, options: dict[str, Any]) -> None:
    """Print the public key of the key that signs."""
    _print_key(command, options, keys.private_key().public)


def generate_key(command: OperatorCommand, options: dict[str, Any]) -> None:
    """Print a new private key; nothing is stored."""
    private = keys.generate()
    public = keys.PrivateKey(keys.from_base64(private)).public
    if options["format"] == "json":
        command.print_json({"private_key": private, "public_key": str(public), "id": public.id})
    else:
        command.stdout.write(f"AUDIT_KEY={private}")
        command.stderr.write(f"Its public key: {public}\nIts id: {public.id}")


def _print_key(command: OperatorCommand, options: dict[str, Any], key: keys.PublicKey) -> None:
    if options["format"] == "json":
        command.print_json({"public_key": str(key), "id": key.id})
    else:
        command.stdout.write(str(key))


def _print_rows(command: OperatorCommand, options: dict[str, Any], rows: list[Row]) -> None:
    """Print what the sentences so far said as JSON, if that is wanted."""
    if options["format"] == "json":
        command.print_json(rows)
    elif not rows:
        command.stdout.write("There are no tenants yet.")


def _written(function: Any) -> Any:
    try:
        return function()
    except (OSError, ValueError) as error:
        raise CommandError(f"the checkpoints: {error}") from error


def _readable(function: Any) -> Any:
    try:
        return function()
    except OSError as error:
        raise CommandError(f"--checkpoints: {error.filename}: {error.strerror}") from None


def _sealed_row(slug: str, done: Sealed) -> Row:
    return {
        "tenant": slug,
        "seals": done.seals,
        "signals": done.signals,
        "busy": done.busy,
        "obstacle": done.obstacle,
        "problem": done.problem,
        "agrees": done.agrees,
    }


def _sealed_sentence(slug: str, done: Sealed) -> str:
    if done.seals:
        numbers = (
            f"seal {done.seals[0]}" if len(done.seals) == 1 else f"seals {done.seals[0]}–{done.seals[-1]}"
        )
        text = f"{slug}: {_count(done.signals, 'signal')} in {numbers}."
    else:
        text = f"{slug}: {'somebody else is sealing' if done.busy else 'nothing is new'}."
    return f"{text} Completeness could not be claimed: {done.obstacle}." if done.obstacle else text


def _report_row(report: Report) -> Row:
    return {
        "tenant": report.tenant,
        "intact": not report.findings.count,
        "seals": report.seals,
        "signals": report.signals,
        "unsealed": report.unsealed,
        "complete_until": report.horizon and report.horizon.isoformat().replace("+00:00", "Z"),
        "taken_back": report.taken_back,
        "pruned_seals": report.pruned_seals,
        "pruned_signals": report.pruned_signals,
        "pruned_before": report.pruned_before and report.pruned_before.isoformat().replace("+00:00", "Z"),
        "checkpoints": report.checkpoints and str(report.checkpoints),
        "checkpointed": report.checkpointed,
        "finding_count": report.findings.count,
        "findings": [finding.row for finding in report.findings.first],
    }


def _print_report(command: OperatorCommand, report: Report) -> None:
    say = command.stdout.write
    if report.pruned_seals:
        say(
            f"{report.tenant}: seals 1–{report.pruned_seals}, {report.pruned_signals:,} signals "
            f"recorded before {_time(report.pruned_before)}: pruned."
        )
    complete = f", complete up to {_time(report.horizon)}" if report.horizon else ""
    seals = report.seals - report.pruned_seals
    say(
        f"{report.tenant}: {_count(report.signals, 'signal')} in {_count(seals, 'seal')}{complete}; "
        f"{report.unsealed:,} not sealed yet."
    )
    for number in report.taken_back:
        say(
            f"{report.tenant}: seal {number} took back what seals before it claim since a clock was wrong; "
            "the next one covers that time, and a signal audit.acknowledged says why."
        )
    if report.checkpoints is None and report.seals:
        say("There are no checkpoints on this machine: a restored older backup would not be noticed.")
    elif report.checkpoints and report.checkpointed < report.seals:
        say(f"{report.checkpoints} knows seals up to {report.checkpointed} of {report.seals}.")
    for finding in report.findings.first:
        say(f"FOUND: {finding.text}.")
    if more := report.findings.count - len(report.findings.first):
        say(f"… and {more:,} more.")
    if not report.findings.count:
        say(
            f"{report.tenant}: everything is as it was sealed."
            if report.seals
            else "Nothing is sealed yet."
        )


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _time(moment: Any) -> str:
    return f"{timezone.localtime(moment):%Y-%m-%d %H:%M:%S.%f %Z}"
