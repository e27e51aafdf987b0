"""Parsers of the options that only `manage.py directive` has; `signals.cli.options` has the shared ones."""

import json
import re
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from fleetprompt.errors import Refused, kind
from signals.types import Subject

_DURATION = re.compile(r"(?:(\d{1,20})d)?(?:(\d{1,20})h)?(?:(\d{1,20})m)?(?:(\d{1,20})s)?")


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
        raise CommandError(f"{option}: expected a JSON object; got {kind(value)}")
    return value
