"""Statements that travel together: each journey costs both sides more than a small statement does."""

from collections.abc import Sequence
from typing import Any

Statement = tuple[str, Sequence[Any]]
"""SQL and the values for its placeholders."""


def together(*statements: Statement) -> Statement:
    """Return statements as one message for Django's cursor, which goes from result to result by `nextset`.

    Outside a transaction, the message is one: everything in it is committed, or nothing is, whether or
    not its sender still lives. Each statement sees what others had committed when it began, as it would
    by itself; but `statement_timestamp()`, Django's `Now`, is when the message arrived.
    """
    return "; ".join(sql for sql, _ in statements), [value for _, values in statements for value in values]
