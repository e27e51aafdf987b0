"""Ends sessions that fall silent in the middle of a transaction, before their locks hold up everybody."""

import math

from django.db import connection

from fleetprompt.postgres.statements import Statement

GRACE = 5.0


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
    settings = {**more, "idle_in_transaction_session_timeout": milliseconds(seconds + GRACE)}
    calls = ", ".join(["set_config(%s, %s, true)"] * len(settings))
    return f"SELECT {calls}", [text for pair in settings.items() for text in pair]


def milliseconds(seconds: float) -> str:
    """Return a time as PostgreSQL's settings take it."""
    return str(math.ceil(seconds * 1000))
