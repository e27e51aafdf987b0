"""Classifies errors: what may work later, what concerns one row, and the text to store of them."""

from django.db import DatabaseError

from directives.errors import Retry
from directives.models import ERROR_LENGTH
from fleetprompt.errors import sqlstate
from fleetprompt.postgres import outages
from fleetprompt.time_limit import TimeLimitExceeded, time_limit

TEXT_SECONDS = 1.0
"""How long an exception may take to give its message."""
_SCHEMA_CLASS = "42"  # syntax error or access rule violation
_MISSING_STATES = ("42703", "42P01")  # undefined column, undefined table


def is_transient(error: BaseException) -> bool:
    """Return whether the same attempt may work later.

    True for a handler's `Retry`, for running over the time limit, and for transient errors of PostgreSQL.
    """
    return isinstance(error, Retry | TimeLimitExceeded) or outages.is_transient(error)


def concerns_one_row(error: BaseException) -> bool:
    """Return whether an error of the runner may concern only the row that it was about.

    False for what may work later, and for missing tables, columns and rights: those concern every row,
    and no directive is to fail for them.
    """
    return not is_transient(error) and not sqlstate(error).startswith(_SCHEMA_CLASS)


def lacks_migration(error: BaseException) -> bool:
    """Return whether a column or a table is missing, as where new code runs before its migrations."""
    return isinstance(error, DatabaseError) and sqlstate(error) in _MISSING_STATES


def describe(error: BaseException) -> str:
    """Return the error's class and message as one storable text of at most 2,000 characters."""
    try:
        with time_limit(TEXT_SECONDS):
            message = str(error)[: ERROR_LENGTH + 1]
    except (Exception, TimeLimitExceeded) as broken:
        message = f"its text cannot be had: {type(broken).__name__}"
    text = f"{type(error).__name__}: {message}".replace("\x00", "\\0")
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= ERROR_LENGTH else text[: ERROR_LENGTH - 1] + "…"
