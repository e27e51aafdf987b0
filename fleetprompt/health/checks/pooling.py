"""Whether something between here and the database loses what a session was told.

A tenant is entered by setting `search_path` for the session. A pooler that hands out another session
for each transaction would let the next statement read another tenant's tables.
"""

from typing import Any

from django.core import checks
from django.db import connection

from fleetprompt.health.checkup import Findings, Tenants, database

_MARK = "fleetprompt.health.doctor"
_ROUNDS = 3


@database("a session stays the same one")
def pooling(tenants: Tenants) -> Findings:
    """Watch one session while another one is in the middle of a transaction."""
    first, second = connection.copy(), connection.copy()
    try:
        if lost := _lost(first, second):
            yield checks.Error(
                f"a connection pooler stands before the database and {lost}: statements of one tenant "
                "may run in another one's schema",
                hint="Let DATABASE_URL name the server itself, or a pooler in session mode "
                "(PgBouncer: pool_mode = session).",
                id="fleetprompt.E016",
            )
    finally:
        first.close()
        second.close()


def _lost(first: Any, second: Any) -> str:
    """Return what the first connection's session forgot; empty when it kept everything."""
    pid = _ask(first, "SELECT pg_backend_pid()")
    _ask(first, f"SELECT set_config('{_MARK}', 'kept', false)")
    for _ in range(_ROUNDS):
        # The other one takes whatever session is free; what it takes cannot be the first one's.
        second.set_autocommit(False)
        # Asked in this order: with a single session to share, the first would wait for the second.
        if _ask(second, "SELECT pg_backend_pid()") == pid or _ask(first, "SELECT pg_backend_pid()") != pid:
            return "hands out another session for each transaction"
        mark = _ask(first, f"SELECT current_setting('{_MARK}', true)")
        second.rollback()
        second.set_autocommit(True)
        if mark != "kept":
            return "forgets what a session was told"
    return ""


def _ask(wrapper: Any, sql: str) -> Any:
    with wrapper.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]
