"""The subcommands that only look: `types`, `list` and `show`."""

import json
from functools import reduce
from operator import or_
from typing import Any

from django.core.management.base import CommandError
from django.db.models import Q
from django.utils import timezone
from rich.markup import escape
from rich.table import Table

from directives import operations, registry
from directives.cli import rows
from directives.errors import DirectiveNotFound, Refused
from directives.models import Directive, in_state
from fleetprompt.cli.console import OperatorCommand, Row
from fleetprompt.tenants.context import in_tenant
from fleetprompt.visible import visible
from signals.cli.options import tenants
from signals.models import Signal
from signals.types import Subject


def types(command: OperatorCommand, options: dict[str, Any]) -> None:
    """Print the directive types, or all there is to know about one."""
    if options["name"] is None:
        found = [rows.type_row(handler) for handler in registry.handlers()]
        command.print_rows(
            found,
            ["name", "label", "permission", "description"],
            style=options["format"],
            empty="No app has a directive_handlers package with handlers in it.",
        )
        return
    row = rows.type_row(registry.get(options["name"]))
    if options["format"] == "json":
        command.print_json(row)
        return
    for key in ("name", "label", "description", "permission", "inverse", "timeout_seconds"):
        command.stdout.write(f"{key.replace('_', ' ')}: {row[key] or '-'}")
    command.stdout.write(f"max attempts: {row['max_attempts']}\npayload (JSON Schema):")
    command.print_json(row["payload_schema"])


def list_(command: OperatorCommand, options: dict[str, Any]) -> None:
    """Print the directives of a tenant, or of all, newest first."""
    if not 1 <= options["limit"] <= 1_000_000:
        raise CommandError("--limit: expected 1 to 1000000")
    condition = _condition(options)
    row = rows.directive_row if options["format"] == "json" else rows.directive_summary
    found: list[tuple[Directive, Row]] = []
    for slug in tenants(options):
        where = {"tenant": slug} if options["all_tenants"] else {}
        with in_tenant(slug):
            some = Directive.objects.filter(condition)[: options["limit"]]
            found.extend((directive, {**where, **row(directive)}) for directive in some)
    found.sort(key=lambda one: (one[0].created_at, one[0].pk), reverse=True)
    command.print_rows(
        [shown for _, shown in found[: options["limit"]]],
        [
            *(["tenant"] if options["all_tenants"] else []),
            *("id", "name", "status", "created", "actor", "subject", "reason", "attempts"),
        ],
        style=options["format"],
        empty="No directives match. Request one with `directive request`.",
    )


def _condition(options: dict[str, Any]) -> Q:
    condition = reduce(or_, map(in_state, options["status"] or []), Q())
    if options["name"] is not None:
        condition &= Q(name=options["name"])
    if options["subject"] is not None:
        subject_type, _, subject_id = options["subject"].partition(":")
        try:
            subject = Subject(subject_type, subject_id)
        except Refused as error:
            raise CommandError(f"--subject: expected TYPE:ID; {error.message}") from None
        condition &= Q(subject_type=subject.type, subject_id=subject.id)
    return condition


def show(command: OperatorCommand, options: dict[str, Any]) -> None:
    """Print one directive and its timeline of signals."""
    with in_tenant(options["tenant"]):
        pk = operations.parse_id(options["id"])
        directive = Directive.objects.filter(pk=pk).first()
        if directive is None:
            raise DirectiveNotFound(f"id: tenant {options['tenant']} has no directive {pk}")
        timeline = list(Signal.objects.filter(causation_id=str(pk)))
    if options["format"] == "json":
        found = rows.directive_row(directive)
        command.print_json({"directive": found, "timeline": [rows.signal_row(s) for s in timeline]})
        return
    command.console.print(_facts(directive))
    command.console.print("[bold]Timeline[/bold]")
    for signal in timeline:
        command.console.print(_moment(signal), overflow="fold")
    if lost := directive.lost_signals:
        command.stdout.write(f"Signals that could not be written: {', '.join(map(_text, lost))}")


def _facts(directive: Directive) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in rows.directive_row(directive).items():
        if value not in ("", None, {}):
            table.add_row(f"[bold]{key.replace('_', ' ')}[/bold]", escape(_text(value)))
    return table


def _moment(signal: Signal) -> str:
    when = f"{timezone.localtime(signal.recorded_at):%Y-%m-%d %H:%M:%S.%f}"[:-3]
    payload = signal.payload if isinstance(signal.payload, dict) else {"payload": signal.payload}
    attempt = f"attempt {_text(payload['attempt'])}" if payload.get("attempt") else ""
    details = [
        f"\n    {visible(key)}: {_text(value)}"
        for key, value in payload.items()
        if key not in ("name", "attempt") and value not in ("", None, {})
    ]
    line = f"{when}  {visible(signal.name):<25}  {attempt:<10}  {visible(str(signal.actor))}".rstrip()
    return escape(line + "".join(details))


def _text(value: object) -> str:
    return visible(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
