"""Limits of a session within a transaction: how long a statement may take, and how long it may be idle."""

import math

from fleetprompt.postgres.queries import Statement, execute

GRACE_SECONDS = 5.0
"""Added to every limit of idle time, so that the program's own timeout comes first."""

_SET_CONFIG = "SELECT {calls}"
_ONE_SETTING = "set_config(%s, %s, true)"


def limit_idle_in_transaction(seconds: float, **more: str) -> None:
    """End the session when the current transaction is idle for `seconds` and `GRACE_SECONDS`.

    A process that is stopped, or whose machine is gone, would otherwise keep its locks until TCP times
    out, two hours as a rule, and hold back the horizon of the audit log.

    Args:
        more: further settings of PostgreSQL for the transaction, in the same statement.
    """
    sql, values = _limiting(seconds, **more)
    execute(sql, *values)


def limit_session(seconds: float, **more: str) -> None:
    """Bound each statement of the current transaction to `seconds`, and its idle time to a bit more."""
    limit_idle_in_transaction(seconds, statement_timeout=milliseconds(seconds), **more)


def limiting_session(seconds: float, **more: str) -> Statement:
    """Return the statement of `limit_session`, to be sent together with others."""
    return _limiting(seconds, statement_timeout=milliseconds(seconds), **more)


def milliseconds(seconds: float) -> str:
    """Return a duration as PostgreSQL's settings take it."""
    return str(math.ceil(seconds * 1000))


def _limiting(seconds: float, **more: str) -> Statement:
    settings = {**more, "idle_in_transaction_session_timeout": milliseconds(seconds + GRACE_SECONDS)}
    calls = ", ".join([_ONE_SETTING] * len(settings))
    return _SET_CONFIG.format(calls=calls), [text for pair in settings.items() for text in pair]
