"""Ends sessions that fall silent in the middle of a transaction, before their locks hold up everybody."""

import math

from django.db import connection

GRACE = 5.0


def limit_silence(seconds: float, **more: str) -> None:
    """End the session when the current transaction is idle for `seconds` and a bit more.

    A process that is stopped, or whose machine is gone, would otherwise keep its locks until TCP gives
    up, two hours as a rule, and hold back the horizon of the audit log.

    Args:
        more: other settings of PostgreSQL for the transaction, in the same statement.
    """
    sql, values = silence_sql(seconds, **more)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {sql}", values)


def silence_sql(seconds: float, **more: str) -> tuple[str, list[str]]:
    """Return what `limit_silence` selects, and the values for it, to be part of another SELECT."""
    settings = {**more, "idle_in_transaction_session_timeout": milliseconds(seconds + GRACE)}
    sql = ", ".join(["set_config(%s, %s, true)"] * len(settings))
    return sql, [text for pair in settings.items() for text in pair]


def milliseconds(seconds: float) -> str:
    """Return a time as PostgreSQL's settings take it."""
    return str(math.ceil(seconds * 1000))
