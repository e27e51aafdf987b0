"""What an exception means for a directive: try again later, or give up."""

from django.db import DatabaseError, InterfaceError, OperationalError

from directives.errors import Retry
from directives.executing.timeouts import TimeLimitExceeded, time_limit
from directives.models import ERROR_LENGTH
from fleetprompt.errors import sqlstate

TEXT_SECONDS = 1.0
"""How long an exception may take to say what went wrong."""
_TRANSIENT_CLASSES = ("08", "40", "53", "57")  # connection, rollback, resources, intervention
_SCHEMA_CLASS = "42"  # syntax error or access rule violation
# Lock not available, session ended by a time-out, a server that is a standby until it is promoted.
_TRANSIENT_STATES = ("55P03", "25P03", "25P04", "25006")


def is_transient(error: BaseException) -> bool:
    """Return whether the same attempt may work later.

    True for a handler's `Retry`, for running over the time limit, and for PostgreSQL's deadlocks,
    serialization failures, time-outs, shutdowns and lost connections. Classes of SQLSTATE are those
    of PostgreSQL's manual, appendix A.
    """
    if isinstance(error, Retry | TimeLimitExceeded | InterfaceError):
        return True
    if not isinstance(error, DatabaseError):
        return False
    state = sqlstate(error)
    if not state:
        return isinstance(error, OperationalError)
    return state.startswith(_TRANSIENT_CLASSES) or state in _TRANSIENT_STATES


def may_be_of_one(error: BaseException) -> bool:
    """Return whether an error of the runner may belong to the one row that it was about.

    False for what may work later, and for missing tables, columns and rights: those concern every row,
    and none of them is to fail for it.
    """
    return not is_transient(error) and not sqlstate(error).startswith(_SCHEMA_CLASS)


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
