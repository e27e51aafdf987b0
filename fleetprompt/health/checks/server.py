"""Checks of the database server: version, durability, connections, public schema, cache."""

from django.conf import settings
from django.core import checks
from django.db import transaction

from fleetprompt.health.checkup import NO_TABLES, Findings, Tenants, database
from fleetprompt.postgres.queries import fetch_all, quoted
from fleetprompt.tenants import schemas

OLDEST_VERSION = 140_000
"""The oldest PostgreSQL that is supported, as `server_version_num`."""
_CROWDED_SHARE = 0.8
_OTHER_PROCESSES = 3
"""A cluster's main process, sentinel and monitor have connections too."""

_VERSION = "SELECT current_setting('server_version_num')::int, version()"
_READ_ONLY = "SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only')::bool"
_SETTINGS = "SELECT name, setting FROM pg_settings WHERE name = ANY(%s)"
_ISOLATION = "SELECT current_setting('transaction_isolation')"
_CONNECTIONS = """
SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
       (SELECT sum(numbackends)::int FROM pg_stat_database)
"""
_TRACKS_ACTIVITIES = "SELECT current_setting('track_activities')::bool"
_IS_MISSING = "SELECT to_regclass(%s) IS NULL"


@database("the database is recent enough")
def server_version(tenants: Tenants) -> Findings:
    """Older servers lack functions that are used."""
    [(found, name)] = fetch_all(_VERSION)
    if found < OLDEST_VERSION:
        yield checks.Error(
            f"the database is too old: {name}",
            hint=f"Use PostgreSQL {OLDEST_VERSION // 10_000} or newer.",
            id="fleetprompt.E010",
        )


@database("the database can be written")
def writable(tenants: Tenants) -> Findings:
    """A standby or a read-only session executes nothing."""
    [(standby, read_only)] = fetch_all(_READ_ONLY)
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
    """Without these, a power cut loses acknowledged work or breaks tables."""
    names = ["fsync", "full_page_writes", "synchronous_commit"]
    found = dict(fetch_all(_SETTINGS, names))
    for name in names[:2]:
        if found[name] == "off":
            yield checks.Error(
                f"{name} is off at the server: a crash of its machine may break the database for good",
                hint=f"Set {name} = on in postgresql.conf and reload.",
                id="fleetprompt.E012",
            )
    if found["synchronous_commit"] == "off":
        yield checks.Warning(
            "synchronous_commit is off: what was acknowledged in the last second before a crash is lost",
            hint="Turn it on: ALTER DATABASE … SET synchronous_commit = on (or the role, or the server).",
            id="fleetprompt.W010",
        )


@database("transactions see what others committed")
def isolation(tenants: Tenants) -> Findings:
    """A claim that waited for another one must see its effects."""
    with transaction.atomic():
        [(level,)] = fetch_all(_ISOLATION)
    if level != "read committed":
        yield checks.Error(
            f"transactions are {level}: a claim that waited for another would not see what it took",
            hint="Remove isolation_level from DATABASES, and reset default_transaction_isolation.",
            id="fleetprompt.E013",
        )


@database("the database has connections left")
def connections(tenants: Tenants) -> Findings:
    """Every web thread and every worker has one."""
    [(allowed, taken)] = fetch_all(_CONNECTIONS)
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
    [(tracked,)] = fetch_all(_TRACKS_ACTIVITIES)
    if not tracked:
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
