"""Whether the database server keeps what it acknowledged, and has what the project relies on."""

from typing import Any

from django.conf import settings
from django.core import checks
from django.db import connection, transaction

from fleetprompt.health.checkup import NO_TABLES, Findings, Tenants, ask, database
from fleetprompt.tenants import schemas

OLDEST = 140_000
"""The oldest PostgreSQL that will do, as the server writes versions."""
_CROWDED = 0.8
_BESIDE_WORKERS = 3
"""A cluster's main process, sentinel and monitor have connections too."""


@database("the database is recent enough")
def server_version(tenants: Tenants) -> Findings:
    """Older servers lack functions that are used."""
    [(found, name)] = ask("SELECT current_setting('server_version_num')::int, version()")
    if found < OLDEST:
        yield checks.Error(
            f"the database is too old: {name}",
            hint=f"Use PostgreSQL {OLDEST // 10_000} or newer.",
            id="fleetprompt.E010",
        )


@database("the database can be written")
def writable(tenants: Tenants) -> Findings:
    """A standby, or a session that may only read, executes nothing."""
    [(standby, read_only)] = ask(
        "SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only')::bool"
    )
    if standby or read_only:
        what = "is a standby" if standby else "lets these sessions only read"
        yield checks.Error(
            f"the database {what}: nothing can be requested or executed",
            hint="Let DATABASE_URL name the primary server."
            if standby
            else "Turn default_transaction_read_only off for the database and the role.",
            id="fleetprompt.E011",
        )


@database("what was acknowledged survives a crash")
def durability(tenants: Tenants) -> Findings:
    """Without these, a power cut takes back what people were told is on record, or breaks tables."""
    names = ["fsync", "full_page_writes", "synchronous_commit"]
    found = dict(ask("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", names))
    for name in names[:2]:
        if found[name] == "off":
            yield checks.Error(
                f"{name} is off at the server: a crash of its machine may break the database for good",
                hint=f"Set {name} = on in postgresql.conf and reload.",
                id="fleetprompt.E012",
            )
    if found["synchronous_commit"] == "off":
        yield checks.Warning(
            "synchronous_commit is off: what was acknowledged in the last moments before a crash is lost",
            hint="Turn it on: ALTER DATABASE … SET synchronous_commit = on (or the role, or the server).",
            id="fleetprompt.W010",
        )


@database("transactions see what others committed")
def isolation(tenants: Tenants) -> Findings:
    """A claim waits for the one before it, and must then see what that one did."""
    with transaction.atomic():
        [(level,)] = ask("SELECT current_setting('transaction_isolation')")
    if level != "read committed":
        yield checks.Error(
            f"transactions are {level}: a claim that waited for another would not see what it took",
            hint="Remove isolation_level from DATABASES, and reset default_transaction_isolation.",
            id="fleetprompt.E013",
        )


@database("the database has connections left")
def connections(tenants: Tenants) -> Findings:
    """Every web thread and every worker has one."""
    [(allowed, taken)] = ask(
        "SELECT current_setting('max_connections')::int"
        " - current_setting('superuser_reserved_connections')::int,"
        " (SELECT sum(numbackends)::int FROM pg_stat_database)"
    )
    if taken > _CROWDED * allowed:
        yield checks.Warning(
            f"{taken} of the database's {allowed} connections are taken",
            hint="Raise max_connections, or run fewer web threads and workers.",
            id="fleetprompt.W011",
        )
    needed = settings.Q_CLUSTER.get("workers", 0) + _BESIDE_WORKERS
    if needed > allowed / 2:
        yield checks.Warning(
            f"one cluster with CLUSTER_WORKERS={needed - _BESIDE_WORKERS} needs {needed} connections, and "
            f"the database has {allowed} for everybody",
            hint="Lower CLUSTER_WORKERS, or raise max_connections.",
            id="fleetprompt.W012",
        )


@database("the database says who does what")
def activities(tenants: Tenants) -> Findings:
    """What others still have open is told by pg_stat_activity alone."""
    [(tracked,)] = ask("SELECT current_setting('track_activities')::bool")
    if not tracked:
        yield checks.Warning(
            "track_activities is off: nobody can tell which transactions are still open",
            hint="Set track_activities = on in postgresql.conf and reload.",
            id="fleetprompt.W013",
        )


@database("the public schema is up to date")
def public_schema(tenants: Tenants) -> Findings:
    """Tenants, queue and the operators' accounts live there."""
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
    """Clusters show themselves in the cache, and operations keep their results there."""
    cache: dict[str, Any] = settings.CACHES["default"]
    if not cache["BACKEND"].endswith("db.DatabaseCache"):
        return
    table = connection.ops.quote_name(cache["LOCATION"])
    if ask("SELECT to_regclass(%s) IS NULL", f"public.{table}") == [(True,)]:
        yield checks.Error(
            f"the cache's table {cache['LOCATION']} is missing: no cluster can be seen, "
            "and operations in the admin fail",
            hint="Run `manage.py migrate_schemas`, or `manage.py createcachetable`.",
            id="fleetprompt.E015",
        )
