"""`manage.py directive`: everything an operator does with directives."""

from collections.abc import Callable
from functools import partial
from typing import Any

from django.core.management.base import CommandParser

from directives.cli import requesting, showing, working
from directives.models import DUE, SNOOZED, Directive
from fleetprompt.cli.console import OperatorCommand, add_format
from signals.cli.options import add_actor, add_tenant, add_tenants


class Command(OperatorCommand):
    """The subcommands that look at, request, run and look after directives."""

    help = "Look at, request, run and look after directives."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the subcommands and their options."""
        parsers = parser.add_subparsers(required=True, metavar="SUBCOMMAND")
        self._add_types(parsers)
        self._add_request(parsers)
        self._add_run(parsers)
        self._add_list(parsers)
        self._add_show(parsers)
        self._add_operations(parsers)

    def _add(self, parsers: Any, name: str, run: Callable[..., None], text: str) -> CommandParser:
        parser = self.subcommand(parsers, name, partial(run, self), text)
        add_format(parser)
        return parser

    def _add_types(self, parsers: Any) -> None:
        parser = self._add(parsers, "types", showing.types, "List the directive types, or describe one.")
        parser.add_argument("name", nargs="?", help="describe this one, with its payload's schema")

    def _add_request(self, parsers: Any) -> None:
        parser = self._add(
            parsers, "request", requesting.request, "Request one directive, or a file of them."
        )
        parser.add_argument("name", nargs="?", help="what should happen, e.g. forum.thread.lock")
        add_tenant(parser)
        source = parser.add_mutually_exclusive_group(required=True)
        source.add_argument("--payload", metavar="JSON", help="the payload, as a JSON object")
        source.add_argument(
            "--from",
            metavar="FILE.jsonl",
            help="one JSON object a line (- is standard input): "
            f"{', '.join(requesting.LINE_FIELDS)}; NAME stands in for a missing name",
        )
        parser.add_argument("--key", help="idempotency key; the handler's own by default")
        parser.add_argument("--at", metavar="ISO8601", help="not to run before this time")
        end = parser.add_mutually_exclusive_group()
        end.add_argument("--for", metavar="DURATION", help="how long it is to last, e.g. 90m, 2h, 1d")
        end.add_argument("--until", metavar="ISO8601", help="when it is to end by itself")
        parser.add_argument("--reason", default="", metavar="TEXT", help="why, for the record")
        add_actor(parser)
        parser.add_argument(
            "--correlation-id", metavar="C", help="groups all work of one request; new by default"
        )

    def _add_run(self, parsers: Any) -> None:
        parser = self._add(parsers, "run", working.run, "Run what is due here and now, without a cluster.")
        add_tenants(parser)
        parser.add_argument("--id", metavar="ID", help="run only this directive")
        parser.add_argument("--rerun", action="store_true", help="even if it has ended already")
        parser.add_argument(
            "--reason", default="rerun from the command line", metavar="TEXT", help="why it is rerun"
        )
        add_actor(parser)

    def _add_list(self, parsers: Any) -> None:
        parser = self._add(parsers, "list", showing.list_, "List directives, newest first.")
        add_tenants(parser)
        parser.add_argument(
            "--status",
            action="append",
            choices=[*Directive.Status.values, DUE, SNOOZED],
            help="may be repeated; requested ones are due, or snoozed until their time comes",
        )
        parser.add_argument("--name", help="only directives of this name")
        parser.add_argument("--subject", metavar="TYPE:ID", help="only those about this subject")
        parser.add_argument("--limit", type=int, default=50, metavar="N", help="default: 50")

    def _add_show(self, parsers: Any) -> None:
        parser = self._add(parsers, "show", showing.show, "Show a directive and its timeline of signals.")
        parser.add_argument("id", metavar="ID")
        add_tenant(parser)

    def _add_operations(self, parsers: Any) -> None:
        snooze = self._add_operation(parsers, "snooze", working.snooze, "Put a requested directive off.")
        when = snooze.add_mutually_exclusive_group(required=True)
        when.add_argument("--until", metavar="ISO8601", help="the time when it becomes due")
        when.add_argument("--for", metavar="DURATION", help="how long from now, e.g. 90m, 2h, 1d")
        self._add_operation(
            parsers, "cancel", working.cancel, "Cancel a requested directive before it runs."
        )
        self._add_operation(
            parsers, "rerun", working.rerun, "Have a directive that has ended run once more."
        )

        undo = self._add_operation(
            parsers, "undo", working.undo, "Undo a directive, or what can be undone of a batch.", nargs="?"
        )
        undo.add_argument("--batch", metavar="CORRELATION", help="all directives of this correlation id")

    def _add_operation(
        self, parsers: Any, name: str, run: Callable[..., None], text: str, **about_id: Any
    ) -> CommandParser:
        parser = self._add(parsers, name, run, text)
        parser.add_argument("id", metavar="ID", **about_id)
        add_tenant(parser)
        parser.add_argument("--reason", required=True, metavar="TEXT", help="why, for the record")
        add_actor(parser)
        return parser
