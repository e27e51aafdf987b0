"""Openings: the salts and values of a signal's commitments, `{"payload key": [salt, value]}`."""

import json
from contextlib import suppress
from typing import Any

from fleetprompt.errors import Refused
from signals.types import COMMITMENT, commitments, digest

_UNREADABLE = "personal values cannot be read"
_COMMITMENT = f'"{COMMITMENT}"'


def problem(data: Any, openings: Any) -> str:
    """Return why openings do not fit a payload, in words; "" if they do.

    Each commitment needs an opening that it is the digest of, and each opening a commitment.
    """
    if not isinstance(openings, dict):
        return "personal values are no object"
    committed = commitments(data)
    found = [
        f"nothing commits to the value of {key}"
        if key not in committed
        else f"the value of {key} is missing"
        if key not in openings
        else f"the salt or the value of {key} was changed"
        for key in sorted(committed.keys() | openings.keys())
        if key not in committed or key not in openings or not _opens(openings[key], committed[key])
    ]
    return ", ".join(found)


def stored_problem(data: str, openings: str) -> str:
    """Return the problem of a payload and of openings that are JSON as PostgreSQL prints it."""
    try:
        return problem(json.loads(data), json.loads(openings))
    except (ValueError, RecursionError):
        return _UNREADABLE


def read(signal_id: object, data: str, openings: str) -> Any:
    """Return a signal's openings, which are JSON as PostgreSQL prints it, like its payload.

    Raises:
        Refused: they do not fit the payload.
    """
    if wrong := stored_problem(data, openings):
        raise Refused(f"signal {signal_id}: {wrong}: run audit verify")
    return json.loads(openings)


def is_committed(data: str) -> bool:
    """Return whether a payload, JSON as PostgreSQL prints it, has a commitment."""
    # Hardly any payload is worth parsing for this.
    if _COMMITMENT in data:
        with suppress(ValueError, RecursionError):
            return bool(commitments(json.loads(data)))
    return False


def _opens(opening: Any, committed: Any) -> bool:
    match opening:
        case [str(salt), value]:
            with suppress(ValueError, RecursionError):
                return bool(digest(salt, value) == committed)
    return False
