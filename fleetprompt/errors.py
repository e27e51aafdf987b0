"""Base class of errors that refuse a request with a sentence, and texts of errors."""

import difflib
from collections.abc import Iterable, Mapping, Sequence

from django.core.exceptions import ValidationError

from fleetprompt.visible import visible

MAX_MESSAGES = 20
"""The most sentences of one refusal; a hostile payload may have thousands of wrong fields."""
BEGINNING_CHARACTERS, END_CHARACTERS = 300, 200
"""The parts that are kept of each, which may quote a text of any length."""


class Refused(ValidationError):
    """Nothing was changed; the text names the field or thing and what was expected.

    It may quote untrusted input: it is shortened, and shows hidden characters.
    """

    def __init__(self, message: str | Sequence[str]) -> None:
        found = [message] if isinstance(message, str) else list(message)
        shown = [presentable(text) for text in found[:MAX_MESSAGES]]
        if len(found) > MAX_MESSAGES:
            shown.append(f"and {len(found) - MAX_MESSAGES} more")
        super().__init__(shown if len(shown) > 1 else shown[0])

    def __str__(self) -> str:
        return "; ".join(self.messages)


def presentable(text: str) -> str:
    """Return the text of an error shortened and without hidden characters."""
    if len(text) > BEGINNING_CHARACTERS + END_CHARACTERS:
        text = f"{text[:BEGINNING_CHARACTERS]}…{text[-END_CHARACTERS:]}"
    return visible(text)


def near(name: str, known: Iterable[str], *, otherwise: str) -> str:
    """Return a question that names what is spelled like `name`, or where to look: `see OTHERWISE`."""
    found = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"did you mean {', '.join(found)}?" if found else f"see `{otherwise}`"


_KINDS = (
    (type(None), "null"),
    (bool, "true or false"),
    (str, "text"),
    (int, "a number"),
    (float, "a decimal number"),
    ((list, tuple), "a list"),
    (Mapping, "an object"),
)


def kind(value: object) -> str:
    """Return what a value is, as JSON knows it; the name of its class if JSON does not."""
    return next((name for types, name in _KINDS if isinstance(value, types)), type(value).__name__)


def sqlstate(error: BaseException) -> str:
    """Return the SQLSTATE of a database error; empty when the connection broke."""
    found: str | None = getattr(error.__cause__, "sqlstate", None)
    return found or ""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its class when it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
