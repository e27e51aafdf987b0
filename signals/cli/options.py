"""Options that management commands of signals and directives share, and parsers of their values."""

import getpass
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from django.forms.utils import from_current_timezone
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from fleetprompt.cli.console import OperatorCommand, Row
from fleetprompt.errors import Refused
from signals.types import Actor


def add_tenant(parser: CommandParser) -> None:
    """Add the option `--tenant` to a subcommand."""
    parser.add_argument("--tenant", required=True, metavar="SLUG", help="the tenant it is about")


def add_actor(parser: CommandParser) -> None:
    """Add the option `--actor` to a subcommand."""
    parser.add_argument(
        "--actor",
        metavar="TYPE:ID[:LABEL]",
        help="who is behind it: user:<primary key>, agent:<name> or system:<name>; "
        "this command and your login name by default",
    )


def actor(text: str | None) -> Actor:
    """Return the actor that `--actor` names, or the person at the command line.

    Raises:
        CommandError: it is not of the form TYPE:ID[:LABEL].
    """
    if text is None:
        return Actor("system", "cli", _login())
    parts = text.split(":", 2)
    if len(parts) < 2:
        raise CommandError(f"--actor: expected TYPE:ID[:LABEL]; got {text!r}")
    try:
        return Actor(*parts)
    except Refused as error:
        raise CommandError(f"--actor: {error.message}") from None


def answer(command: OperatorCommand, options: Mapping[str, Any], row: Row, text: str) -> None:
    """Print a result: `row` where the format is JSON, or else `text`."""
    if options["format"] == "json":
        command.print_json(row)
    else:
        command.stdout.write(text)


def moment(option: str, text: str) -> datetime:
    """Return the time that `text` gives in ISO 8601; without an offset, in the project's zone.

    Raises:
        CommandError: naming `option`; also where the zone's clocks show that time twice or never.
    """
    try:
        found = parse_datetime(text)
    except ValueError:
        found = None
    if found is None:
        raise CommandError(f"{option}: expected a time in ISO 8601, such as 2030-01-31T09:00; got {text!r}")
    if found.tzinfo:
        return found
    try:
        return from_current_timezone(found)
    except ValidationError:
        zone = timezone.get_current_timezone()
        raise CommandError(
            f"{option}: the clocks of {zone} show {text} twice or never; add an offset, such as +00:00"
        ) from None


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run under a number that has no name.
        return ""
