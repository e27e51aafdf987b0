"""Statements joined into one message: a round trip costs more than a small statement."""

from collections.abc import Sequence
from typing import Any

Statement = tuple[str, Sequence[Any]]
"""SQL, and the values for its placeholders."""


def join_statements(*statements: Statement) -> Statement:
    """Return statements as one message for Django's cursor, whose `nextset` goes to the next result.

    Outside a transaction the message is a transaction: all of it is committed or nothing, even if the
    client has died. Each statement sees what was committed when it began, as it would alone; but
    `statement_timestamp()`, Django's `Now`, is the time at which the message arrived.
    """
    return "; ".join(sql for sql, _ in statements), [value for _, values in statements for value in values]
