"""The subcommands that act on directives: `run`, `snooze`, `cancel`, `rerun` and `undo`."""

import re
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from directives import operations, runner
from directives.cli import rows
from directives.models import Directive
from directives.outcomes import Kind, Outcome
from fleetprompt.cli.console import OperatorCommand, Row, progress, refused_of
from fleetprompt.tenants.context import in_tenant
from fleetprompt.tenants.models import Tenant
from signals.cli.options import actor, answer, moment, tenants

_DURATION = re.compile(r"(?:(\d{1,20})d)?(?:(\d{1,20})h)?(?:(\d{1,20})m)?(?:(\d{1,20})s)?")


def run(command: OperatorCommand, options: dict[str, Any]) -> None:
    """Run one directive, or all that is due, in this process."""
    if options["id"] is not None:
        _run_one(command, options)
        return
    if options["rerun"]:
        raise CommandError("--rerun: expected together with --id")
    found = []
    for slug in tenants(options, status=Tenant.Status.ACTIVE):
        with in_tenant(slug) as tenant, progress(f"Running what is due in {slug}", None) as advance:
            if options["tenant"] and tenant.status != Tenant.Status.ACTIVE:
                raise CommandError(f"--tenant: {slug} is {tenant.status}, and runs no directives")
            for outcome in runner.iterate_due():
                found.append(_row(slug, outcome))
                advance(1)
    _print(command, options, found)
    if options["format"] == "table":
        counts = Counter(row["outcome"] for row in found)
        summary = ", ".join(f"{number} {kind.replace('_', ' ')}" for kind, number in counts.items())
        attempts = "1 attempt" if len(found) == 1 else f"{len(found)} attempts"
        command.stdout.write(f"{attempts}: {summary}." if found else "Nothing was due.")


def snooze(command: OperatorCommand, options: dict[str, Any]) -> None:
    """Put a directive off."""
    at = options["until"]
    until = after(timezone.now(), options["for"]) if at is None else moment("--until", at)
    what = f"is due at {until.isoformat(timespec='seconds')}"
    _operate(command, options, partial(operations.snooze, until=until), what)


def cancel(command: OperatorCommand, options: dict[str, Any]) -> None:
    """Cancel a directive."""
    _operate(command, options, operations.cancel, "is canceled")


def rerun(command: OperatorCommand, options: dict[str, Any]) -> None:
    """Have a directive that ended run again."""
    what = "is requested again; a cluster or `directive run` executes it"
    _operate(command, options, operations.rerun, what)


def undo(command: OperatorCommand, options: dict[str, Any]) -> None:
    """Undo a directive, or all of a batch that can be undone."""
    if (options["id"] is None) == (options["batch"] is None):
        raise CommandError("ID: expected a directive's id, or else --batch")
    with in_tenant(options["tenant"]):
        by, reason = actor(options["actor"]), options["reason"]
        if options["id"] is not None:
            requested = operations.undo(options["id"], actor=by, reason=reason)
            done = f"{requested.directive} undoes it; a cluster or `directive run` executes it."
            answer(command, options, [rows.directive_row(requested.directive)], done)
            return
        undone = operations.undo_batch(options["batch"], actor=by, reason=reason)
    if options["format"] == "json":
        command.print_json(
            {
                "correlation_id": undone.correlation_id,
                "requested": [str(one.directive.pk) for one in undone.requested.values()],
                "refused": [{"id": str(pk), "error": str(why)} for pk, why in undone.refused.items()],
            }
        )
    else:
        for pk, why in undone.refused.items():
            command.stderr.write(f"{pk}: {why}")
        command.stdout.write(
            f"{len(undone.requested)} undone as soon as they run, {len(undone.refused)} left as they are; "
            f"correlation id {undone.correlation_id}."
        )
    if undone.refused:
        raise CommandError(
            refused_of(len(undone.refused), "directive", {"undone": len(undone.requested)}, "undone")
        )


def after(moment: datetime, text: str) -> datetime:
    """Return the time after a moment and a span such as `90m`, `2h` or `1d12h`."""
    match = _DURATION.fullmatch(text)
    if not match or not any(match.groups()):
        raise CommandError(f"--for: expected a duration such as 90m, 2h or 1d12h; got {text!r}")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    try:
        return moment + timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    except OverflowError:
        raise CommandError("--for: expected a duration that ends before the year 9999") from None


def _operate(
    command: OperatorCommand, options: dict[str, Any], operation: Callable[..., Directive], what: str
) -> None:
    """Do an operation to the directive, and say what it is now."""
    with in_tenant(options["tenant"]):
        directive = operation(options["id"], actor=actor(options["actor"]), reason=options["reason"])
    answer(command, options, [rows.directive_row(directive)], f"{directive} {what}.")


def _run_one(command: OperatorCommand, options: dict[str, Any]) -> None:
    if not options["tenant"]:
        raise CommandError("--id: expected together with --tenant")
    with in_tenant(options["tenant"]):
        by, reason = actor(options["actor"]), options["reason"]
        outcome = runner.run(options["id"], options["rerun"], actor=by, reason=reason)
        row = _row(options["tenant"], outcome)
    _print(command, options, [row])
    if outcome.kind != Kind.SUCCEEDED:
        raise CommandError(f"{outcome.kind.replace('_', ' ')}: {outcome.reason}")


def _row(tenant: str, outcome: Outcome) -> Row:
    name = Directive.objects.filter(pk=outcome.directive_id).values_list("name", flat=True).first()
    return {
        "tenant": tenant,
        "id": str(outcome.directive_id),
        "name": name,
        "outcome": str(outcome.kind),
        "reason": outcome.reason,
    }


def _print(command: OperatorCommand, options: dict[str, Any], found: list[Row]) -> None:
    shown = found
    if options["format"] == "table" and len(found) > 50:
        shown = [row for row in found if row["outcome"] != Kind.SUCCEEDED]
    if shown or options["format"] == "json":
        columns = ["tenant", "id", "name", "outcome", "reason"]
        command.print_rows(shown, columns, style=options["format"], empty="")
