"""Checks of the database server: poolers before it, durability, connections, public schema, cache."""

from contextlib import closing
from typing import Any

from django.conf import settings
from django.core import checks
from django.db import connection, transaction

from fleetprompt.health.checkup import NO_TABLES, Findings, Tenants, database
from fleetprompt.postgres.queries import fetch_all, quoted
from fleetprompt.tenants import schemas

_CROWDED_SHARE = 0.8
_OTHER_PROCESSES = 3
"""A cluster's main process, sentinel and monitor have connections too."""

_MARK = "fleetprompt.health.doctor"
_ROUNDS = 3
_PID = "SELECT pg_backend_pid()"
_SET_MARK = f"SELECT set_config('{_MARK}', 'kept', false)"
_MARK_NOW = f"SELECT current_setting('{_MARK}', true)"
_IN_RECOVERY = "SELECT pg_is_in_recovery()"
_SETTING = "SELECT current_setting(%s)"
_CONNECTIONS = "SELECT sum(numbackends)::int FROM pg_stat_database"
_IS_MISSING = "SELECT to_regclass(%s) IS NULL"


@database("a session stays the same one")
def pooling(tenants: Tenants) -> Findings:
    """Compare one session before and during another session's transaction.

    A tenant is entered by setting `search_path` for the session. With a pooler that assigns a session to
    each transaction, the next statement could read another tenant's tables.
    """
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


@database("the database can be written")
def writable(tenants: Tenants) -> Findings:
    """A standby or a read-only session executes nothing."""
    if fetch_all(_IN_RECOVERY) == [(True,)]:
        what, hint = "is a standby", "Let DATABASE_URL name the primary server."
    elif _setting("default_transaction_read_only") == "on":
        what = "lets these sessions only read"
        hint = "Turn default_transaction_read_only off for the database and the role."
    else:
        return
    what = f"the database {what}: nothing can be requested or executed"
    yield checks.Error(what, hint=hint, id="fleetprompt.E011")


@database("what was acknowledged survives a crash")
def durability(tenants: Tenants) -> Findings:
    """Without these, a power cut loses acknowledged work or breaks tables."""
    for name in ("fsync", "full_page_writes"):
        if _setting(name) == "off":
            yield checks.Error(
                f"{name} is off at the server: a crash of its machine may break the database for good",
                hint=f"Set {name} = on in postgresql.conf and reload.",
                id="fleetprompt.E012",
            )
    if _setting("synchronous_commit") == "off":
        yield checks.Warning(
            "synchronous_commit is off: what was acknowledged in the last second before a crash is lost",
            hint="Turn it on: ALTER DATABASE … SET synchronous_commit = on (or the role, or the server).",
            id="fleetprompt.W010",
        )


@database("transactions see what others committed")
def isolation(tenants: Tenants) -> Findings:
    """A claim that waited for another one must see its effects."""
    with transaction.atomic():
        level = _setting("transaction_isolation")
    if level != "read committed":
        yield checks.Error(
            f"transactions are {level}: a claim that waited for another would not see what it took",
            hint="Remove isolation_level from DATABASES, and reset default_transaction_isolation.",
            id="fleetprompt.E013",
        )


@database("the database has connections left")
def connections(tenants: Tenants) -> Findings:
    """Every web thread and every worker has one."""
    allowed = int(_setting("max_connections")) - int(_setting("superuser_reserved_connections"))
    [(taken,)] = fetch_all(_CONNECTIONS)
    if taken > _CROWDED_SHARE * allowed:
        yield checks.Warning(
            f"{taken} of the database's {allowed} connections are taken",
            hint="Raise max_connections, or run fewer web threads and workers.",
            id="fleetprompt.W011",
        )
    needed = settings.Q_CLUSTER.get("workers", 0) + _OTHER_PROCESSES
    if needed > allowed / 2:
        yield checks.Warning(
            f"one cluster with CLUSTER_WORKERS={needed - _OTHER_PROCESSES} needs {needed} connections, and "
            f"the database has {allowed} for all processes",
            hint="Lower CLUSTER_WORKERS, or raise max_connections.",
            id="fleetprompt.W012",
        )


@database("the database shows open transactions")
def activities(tenants: Tenants) -> Findings:
    """Only pg_stat_activity tells which transactions are open."""
    if _setting("track_activities") == "off":
        yield checks.Warning(
            "track_activities is off: open transactions cannot be seen",
            hint="Set track_activities = on in postgresql.conf and reload.",
            id="fleetprompt.W013",
        )


@database("the public schema is up to date")
def public_schema(tenants: Tenants) -> Findings:
    """It holds tenants, queue and the operators' accounts."""
    missing = schemas.missing_in_public()
    if missing is None or missing:
        what = f"lacks {', '.join(missing)}" if missing else "has no tables yet"
        yield checks.Error(
            f"the public schema {what}",
            hint="Run `manage.py migrate_schemas`.",
            id="fleetprompt.E018" if missing else NO_TABLES,
        )


@database("the cache has its table")
def cache_table(tenants: Tenants) -> Findings:
    """Clusters report in the cache, and operations keep their results there."""
    name = str(settings.CACHES["default"]["LOCATION"])
    if fetch_all(_IS_MISSING, f"public.{quoted(name)}") == [(True,)]:
        yield checks.Error(
            f"the cache's table {name} is missing: no cluster can be seen, "
            "and operations in the admin fail",
            hint="Run `manage.py migrate_schemas`, or `manage.py createcachetable`.",
            id="fleetprompt.E015",
        )


def _setting(name: str) -> str:
    return str(fetch_all(_SETTING, name)[0][0])


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
