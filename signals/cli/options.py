"""Options that management commands of signals and directives share, and parsers of their values."""

import getpass
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from django.forms.utils import from_current_timezone
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from fleetprompt.cli.console import OperatorCommand
from fleetprompt.errors import Refused
from fleetprompt.postgres.primary_keys import primary_key, python_type
from fleetprompt.tenants.models import Tenant
from signals.types import Actor, actor_of


def add_tenant(parser: CommandParser) -> None:
    """Add the option `--tenant` to a subcommand."""
    parser.add_argument("--tenant", required=True, metavar="SLUG", help="the tenant it is about")


def add_tenants(parser: CommandParser) -> None:
    """Give a subcommand the options `--tenant` and `--all-tenants`, of which one is required."""
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--tenant", metavar="SLUG", help="only this tenant")
    where.add_argument("--all-tenants", action="store_true", help="every tenant")


def tenants(options: dict[str, Any], **condition: Any) -> list[str]:
    """Return the slugs of the tenants that the options of `add_tenants` mean, by name.

    Args:
        condition: which of all; the one that is named is meant whatever it is.
    """
    if options["tenant"] is not None:
        return [options["tenant"]]
    return list(Tenant.objects.filter(**condition).values_list("slug", flat=True))


def add_actor(parser: CommandParser) -> None:
    """Add the option `--actor` to a subcommand."""
    parser.add_argument(
        "--actor",
        metavar="TYPE:ID[:LABEL]",
        help="who is behind it: user:<user name or id>, agent:<name> or system:<name>; "
        "this command and your login name by default",
    )


def actor(text: str | None) -> Actor:
    """Return the actor that `--actor` names, or the person at the command line.

    Users are looked up in the active tenant, by id or by user name.

    Raises:
        CommandError: it is not of the form TYPE:ID[:LABEL], or names no active user, or two.
    """
    if text is None:
        # A container may run under a number that has no name.
        with suppress(KeyError, OSError):
            return Actor("system", "cli", getpass.getuser())
        return Actor("system", "cli")
    parts = text.split(":", 2)
    if len(parts) < 2:
        raise CommandError(f"--actor: expected TYPE:ID[:LABEL]; got {text!r}")
    try:
        named = Actor(*parts)
    except Refused as error:
        raise CommandError(f"--actor: {error.message}") from None
    if named.type != "user":
        return named
    found = actor_of(_user(named.id))
    return replace(found, label=named.label or found.label)


def _user(text: str) -> Any:
    """Return the active user with that id or user name."""
    users: Any = get_user_model()
    key = primary_key(users, text)
    by_id = None if key is None else users.objects.filter(pk=key).first()
    by_name = users.objects.filter(**{users.USERNAME_FIELD: text}).first()
    can_be_id = key is not None and python_type(users) is not str
    # Never the wrong one, and the same one whoever else is added or deleted.
    if by_name and by_name != by_id and (by_id or can_be_id):
        other = f", or user:{by_id.get_username()} for the user with the id {text}" if by_id else ""
        raise CommandError(
            f"--actor: {text!r} can be an id, and is the user name of the user with the id {by_name.pk}; "
            f"expected user:{by_name.pk}{other}"
        )
    user = by_id or by_name
    if user is None or not user.is_active:
        raise CommandError(f"--actor: this tenant has no active user with the name or id {text!r}")
    return user


def answer(command: OperatorCommand, options: Mapping[str, Any], value: Any, text: str) -> None:
    """Print a result: `value` where the format is JSON, or else `text`."""
    if options["format"] == "json":
        command.print_json(value)
    else:
        command.stdout.write(text)


def opened(option: str, path: str) -> AbstractContextManager[IO[bytes]]:
    """Return a file that is open for a block, or standard input where `path` is `-`.

    Raises:
        CommandError: naming `option`; it cannot be opened.
    """
    try:
        return nullcontext(sys.stdin.buffer) if path == "-" else Path(path).open("rb")
    except (OSError, ValueError) as error:
        raise CommandError(f"{option}: {path}: {getattr(error, 'strerror', error)}") from None


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
