"""Check for a connection pooler that loses the settings of a session.

A tenant is entered by setting `search_path` for the session. With a pooler that assigns a session to
each transaction, the next statement could read another tenant's tables.
"""

from contextlib import closing
from typing import Any

from django.core import checks
from django.db import connection

from fleetprompt.health.checkup import Findings, Tenants, database

_MARK = "fleetprompt.health.doctor"
_ROUNDS = 3
_PID = "SELECT pg_backend_pid()"
_SET_MARK = f"SELECT set_config('{_MARK}', 'kept', false)"
_MARK_NOW = f"SELECT current_setting('{_MARK}', true)"


@database("a session stays the same one")
def pooling(tenants: Tenants) -> Findings:
    """Compare one session before and during another session's transaction."""
    with closing(connection.copy()) as first, closing(connection.copy()) as second:
        lost = _lost(first, second)
    if lost:
        yield checks.Error(
            f"a connection pooler before the database {lost}: statements of one tenant may run in "
            "another tenant's schema",
            hint="Let DATABASE_URL name the server itself, or a pooler in session mode "
            "(PgBouncer: pool_mode = session).",
            id="fleetprompt.E016",
        )


def _lost(first: Any, second: Any) -> str:
    """Return how the pooler treats sessions; empty when the first one kept everything."""
    pid = _ask(first, _PID)
    _ask(first, _SET_MARK)
    for _ in range(_ROUNDS):
        # The transaction occupies a session, which must not be the first connection's.
        second.set_autocommit(False)
        # In this order: with a single session to share, the first would wait for the second.
        if _ask(second, _PID) == pid or _ask(first, _PID) != pid:
            return "hands out another session for each transaction"
        mark = _ask(first, _MARK_NOW)
        second.rollback()
        second.set_autocommit(True)
        if mark != "kept":
            return "forgets what a session was told"
    return ""


def _ask(wrapper: Any, sql: str) -> Any:
    with wrapper.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]
