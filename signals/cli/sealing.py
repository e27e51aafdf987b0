"""The subcommands that seal and verify: `seal`, `verify` and `acknowledge`; and those about keys."""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from fleetprompt.console import OperatorCommand, Row, progress
from fleetprompt.tenants.context import in_tenant
from fleetprompt.tenants.models import Tenant
from signals import options as parse
from signals.audit import acknowledging, keys, sealing, verification
from signals.audit.sealing import Sealed
from signals.audit.verification import Report


def seal(command: OperatorCommand, options: dict[str, Any]) -> None:
    """Seal what is new."""
    rows, disagree = [], []
    for slug in _tenants(options):
        with in_tenant(slug):
            done = _written(sealing.seal)
        rows.append(_sealed_row(slug, done))
        if not done.agrees:
            disagree.append(slug)
        if options["format"] == "table":
            command.stdout.write(_sealed_sentence(slug, done))
    _print_rows(command, options, rows)
    if disagree:
        raise CommandError(
            f"the checkpoints of {', '.join(disagree)} disagree with the database: run audit verify"
        )


def verify(command: OperatorCommand, options: dict[str, Any]) -> None:
    """Recompute everything; end with status 1 when something does not fit."""
    file = Path(options["checkpoints"]) if options["checkpoints"] else None
    if file and options["all_tenants"]:
        raise CommandError("--checkpoints: expected together with --tenant")
    reports = []
    for slug in _tenants(options):
        with in_tenant(slug), progress(f"Verifying {slug}", verification.expected()) as advance:
            reports.append(_readable(lambda: verification.verify(file=file, advance=advance)))
        if options["format"] == "table":
            _print_report(command, reports[-1])
    _print_rows(command, options, [_report_row(report) for report in reports])
    if bad := [report.tenant for report in reports if report.findings.count]:
        raise CommandError(f"the signals of {', '.join(bad)} are not as they were sealed")


def acknowledge(command: OperatorCommand, options: dict[str, Any]) -> None:
    """Put checkpoints aside that know more than the database, after a question unless `--yes` was given."""
    with in_tenant(options["tenant"]) as tenant:
        loss = acknowledging.look()
        for finding in loss.findings[:20]:
            command.stderr.write(finding.text)
        if loss.files and not options["yes"]:
            command.confirm("Accept this loss? Type the slug: ", tenant.slug, "Not acknowledged")
        aside = _written(
            lambda: acknowledging.acknowledge(options["reason"], actor=parse.actor(options["actor"]))
        )
    if options["format"] == "json":
        command.print_json({"tenant": tenant.slug, "put_aside": [str(file) for file in aside]})
    else:
        command.stdout.write(f"Acknowledged. Put aside: {', '.join(map(str, aside))}")


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


def _tenants(options: dict[str, Any]) -> list[str]:
    if options["tenant"]:
        return [options["tenant"]]
    return list(Tenant.objects.values_list("slug", flat=True))


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
        "pruned_seals": report.pruned_seals,
        "pruned_signals": report.pruned_signals,
        "pruned_before": report.pruned_before and report.pruned_before.isoformat().replace("+00:00", "Z"),
        "checkpoints": report.checkpoints and str(report.checkpoints),
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
    if report.checkpoints is None and report.seals:
        say("There are no checkpoints on this machine: a restored older backup would not be noticed.")
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
