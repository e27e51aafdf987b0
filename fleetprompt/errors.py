"""The base of every error that says what somebody asked for is not possible, and why."""

import difflib
from collections.abc import Iterable, Mapping, Sequence

from django.core.exceptions import ValidationError

from fleetprompt.web.visible import visible

MESSAGES = 20
"""How many things one refusal names; a hostile payload may have thousands of wrong fields."""
BEGINNING, END = 300, 200
"""How many characters are kept of each: what it quotes may be of any length."""


class Refused(ValidationError):
    """Nothing was changed; the text names the field or thing and what was expected.

    What it quotes comes from anybody: it is cut, and shows what is hidden in it.
    """

    def __init__(self, message: str | Sequence[str]) -> None:
        found = [message] if isinstance(message, str) else list(message)
        shown = [presentable(text) for text in found[:MESSAGES]]
        if len(found) > MESSAGES:
            shown.append(f"and {len(found) - MESSAGES} more")
        super().__init__(shown if len(shown) > 1 else shown[0])

    def __str__(self) -> str:
        return "; ".join(self.messages)


def presentable(text: str) -> str:
    """Return the text of an error as it can be shown anywhere, whatever it quotes."""
    if len(text) > BEGINNING + END:
        text = f"{text[:BEGINNING]}…{text[-END:]}"
    return visible(text)


def near(name: str, known: Iterable[str], *, otherwise: str) -> str:
    """Return a question that names what is spelled like `name`, or where to look: `see OTHERWISE`."""
    found = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"did you mean {', '.join(found)}?" if found else f"see `{otherwise}`"


def kind(value: object) -> str:
    """Return what a value is, as JSON knows it; the name of its class if JSON does not."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case str():
            return "text"
        case int():
            return "a number"
        case float():
            return "a decimal number"
        case list() | tuple():
            return "a list"
        case Mapping():
            return "an object"
    return type(value).__name__


def sqlstate(error: BaseException) -> str:
    """Return the SQLSTATE of a database error; empty when the connection broke."""
    found: str | None = getattr(error.__cause__, "sqlstate", None)
    return found or ""


def first_line(error: Exception) -> str:
    """Return the first line of what a database error says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
