"""Limits of a session within a transaction: how long a statement may take, and how long it may be idle."""

import math

from django.db import connection

from fleetprompt.postgres.statements import Statement

GRACE_SECONDS = 5.0
"""How much longer than its work a session may be idle in a transaction."""


def limit_idle_in_transaction(seconds: float, **more: str) -> None:
    """End the session when the current transaction is idle for `seconds` and a bit more.

    A process that is stopped, or whose machine is gone, would otherwise keep its locks until TCP gives
    up, two hours as a rule, and hold back the horizon of the audit log.

    Args:
        more: other settings of PostgreSQL for the transaction, in the same statement.
    """
    with connection.cursor() as cursor:
        cursor.execute(*limiting_idle_in_transaction(seconds, **more))


def limiting_idle_in_transaction(seconds: float, **more: str) -> Statement:
    """Return the statement of `limit_idle_in_transaction`, to be sent together with others."""
    settings = {**more, "idle_in_transaction_session_timeout": milliseconds(seconds + GRACE_SECONDS)}
    calls = ", ".join(["set_config(%s, %s, true)"] * len(settings))
    return f"SELECT {calls}", [text for pair in settings.items() for text in pair]


def limit_session(seconds: float, **more: str) -> None:
    """Bound each statement of the current transaction to `seconds`, and its idle time to a bit more."""
    with connection.cursor() as cursor:
        cursor.execute(*limiting_session(seconds, **more))


def limiting_session(seconds: float, **more: str) -> Statement:
    """Return the statement of `limit_session`, to be sent together with others.

    Args:
        more: other settings of PostgreSQL for the transaction, in the same statement.
    """
    return limiting_idle_in_transaction(seconds, statement_timeout=milliseconds(seconds), **more)


def milliseconds(seconds: float) -> str:
    """Return a time as PostgreSQL's settings take it."""
    return str(math.ceil(seconds * 1000))
