"""Reads what people type after the options of `manage.py directive`."""

import getpass
import json
import re
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from fleetprompt.errors import Refused
from signals.types import Actor, Subject

_DURATION = re.compile(r"(?:(\d{1,20})d)?(?:(\d{1,20})h)?(?:(\d{1,20})m)?(?:(\d{1,20})s)?")


def add_tenant(parser: CommandParser) -> None:
    """Give a subcommand the option `--tenant`."""
    parser.add_argument("--tenant", required=True, metavar="SLUG", help="the tenant it is about")


def add_actor(parser: CommandParser) -> None:
    """Give a subcommand the option `--actor`."""
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


def subject(text: str) -> Subject:
    """Return the subject that `--subject` names.

    Raises:
        CommandError: it is not of the form TYPE:ID.
    """
    kind, _, identifier = text.partition(":")
    try:
        return Subject(kind, identifier)
    except Refused as error:
        raise CommandError(f"--subject: expected TYPE:ID; {error.message}") from None


def moment(option: str, text: str) -> datetime:
    """Return the time that `text` gives in ISO 8601; without a zone, in the project's zone.

    Raises:
        CommandError: naming `option`.
    """
    try:
        found = parse_datetime(text)
    except ValueError:
        found = None
    if found is None:
        raise CommandError(f"{option}: expected a time in ISO 8601, such as 2030-01-31T09:00; got {text!r}")
    return found if found.tzinfo else timezone.make_aware(found)


def from_now(option: str, text: str) -> datetime:
    """Return the time after the span that `text` gives, such as `90m`, `2h` or `1d12h`.

    Raises:
        CommandError: naming `option`.
    """
    match = _DURATION.fullmatch(text)
    if not match or not any(match.groups()):
        raise CommandError(f"{option}: expected a duration such as 90m, 2h or 1d12h; got {text!r}")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    try:
        return timezone.now() + timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    except OverflowError:
        raise CommandError(f"{option}: expected a duration that ends before the year 9999") from None


def json_object(option: str, text: str) -> dict[str, Any]:
    """Return the JSON object that `text` is.

    Raises:
        CommandError: naming `option`.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{option}: expected a JSON object; {error}") from None
    if not isinstance(value, dict):
        raise CommandError(f"{option}: expected a JSON object; got {type(value).__name__}")
    return value


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run under a number that has no name.
        return ""
