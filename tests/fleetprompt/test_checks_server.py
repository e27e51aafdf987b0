"""Checks of the database server, its sessions and poolers, on real servers."""

import os
import shutil
import socket
import subprocess
import tempfile
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import psycopg
import pytest
from django.conf import settings as project
from django.db import connection
from django.db.backends.base import base
from django.db.utils import ConnectionHandler

from fleetprompt.health.checks import installation, server
from fleetprompt.health.doctor import examine
from fleetprompt.postgres.queries import fetch_all
from tests.checks import altered, found, other_migration_name
from tests.support import database_url, owner_cursor, wait_until

needs_own_server = pytest.mark.skipif(
    not project.DATABASES["default"].get("EMBEDDED"), reason="changes the settings of a whole server"
)
PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
CHECKS = [
    server.writable,
    server.isolation,
    server.connections,
    server.activities,
    server.public_schema,
    server.cache_table,
    server.pooling,
    installation.disk,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.title)
def test_the_tests_own_server_is_fine(database, check):
    assert found(check) == {}


def test_a_server_that_is_too_old(database, monkeypatch):
    connection.close()
    with monkeypatch.context() as changed:
        changed.setattr(connection.features, "minimum_database_version", (99,))
        changed.setattr(base, "RAN_DB_VERSION_CHECK", set())
        said = {finding.id: finding for _, findings in examine() for finding in findings or ()}
    connection.close()
    assert "PostgreSQL 99 or later is required" in said["fleetprompt.E010"].msg


def test_a_session_that_may_only_read(database):
    execute("SET default_transaction_read_only = on")
    assert "only read" in found(server.writable)["fleetprompt.E011"].msg


def test_work_that_is_acknowledged_before_it_is_on_the_disk(database):
    execute("SET synchronous_commit = off")
    assert list(found(server.durability)) == ["fleetprompt.W010"]
    execute("SET synchronous_commit = on")
    assert found(server.durability) == {}


@needs_own_server
@pytest.mark.parametrize("name", ["fsync", "full_page_writes"])
def test_a_server_that_a_power_cut_would_break(database, name):
    execute("SET synchronous_commit = on")
    with server_setting(name, "off"):
        assert name in found(server.durability)["fleetprompt.E012"].msg
    assert found(server.durability) == {}


def test_transactions_that_do_not_see_what_others_commit(database):
    execute("SET default_transaction_isolation = 'repeatable read'")
    assert "repeatable read" in found(server.isolation)["fleetprompt.E013"].msg


@needs_own_server
def test_a_server_that_does_not_say_who_does_what(database):
    with server_setting("track_activities", "off"):
        assert list(found(server.activities)) == ["fleetprompt.W013"]


def test_more_workers_than_the_server_has_connections_for(database, settings):
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "workers": 90}
    assert "CLUSTER_WORKERS=90" in found(server.connections)["fleetprompt.W012"].msg


def test_connections_that_are_nearly_used_up(database, monkeypatch):
    # Other tests need the rest of them, and may take and leave a few meanwhile.
    [(allowed, taken)] = fetch_all(
        "SELECT current_setting('max_connections')::int,"
        " (SELECT sum(numbackends)::int FROM pg_stat_database)"
    )
    monkeypatch.setattr(server, "_CROWDED_SHARE", (taken + 15) / allowed)
    assert found(server.connections) == {}
    with ExitStack() as open_connections:
        for _ in range(30):
            open_connections.enter_context(closing(psycopg.connect(database_url())))
        # What the server counts comes a moment later.
        wait_until(lambda: "fleetprompt.W011" in found(server.connections), "they are counted")
    wait_until(lambda: not found(server.connections), "they are gone")


def test_a_public_schema_that_lacks_a_migration(database):
    with other_migration_name("public"):
        assert "sessions.0001_initial" in found(server.public_schema)["fleetprompt.E018"].msg


def test_a_cache_without_its_table(database):
    with altered(
        "ALTER TABLE public.fleetprompt_cache RENAME TO gone",
        "ALTER TABLE public.gone RENAME TO fleetprompt_cache",
    ):
        assert list(found(server.cache_table)) == ["fleetprompt.E015"]


def test_a_disk_without_room(database, monkeypatch):
    # Nothing can be written there, ever.
    with monkeypatch.context() as changed:
        changed.setitem(connection.settings_dict, "EMBEDDED", "/proc")
        assert list(found(installation.disk, tenants={})) == ["fleetprompt.W004"]


@pytest.mark.skipif(not PGBOUNCER, reason="needs PgBouncer (Debian: apt-get install pgbouncer)")
@pytest.mark.parametrize(("mode", "expected"), [("transaction", ["fleetprompt.E016"]), ("session", [])])
def test_a_pooler_that_hands_out_other_sessions(database, monkeypatch, mode, expected):
    with pgbouncer(mode) as port:
        pooled = {**connection.settings_dict, "EMBEDDED": None, "HOST": "127.0.0.1", "PORT": port}
        pooled["OPTIONS"] = {}
        monkeypatch.setattr(server, "connection", ConnectionHandler({"default": pooled})["default"])
        assert list(found(server.pooling)) == expected


def execute(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)


@contextmanager
def server_setting(name, value):
    """Set what a new session of the program finds, for a block."""
    _everywhere(f"ALTER SYSTEM SET {name} = {value}", name, value)
    try:
        yield
    finally:
        _everywhere(f"ALTER SYSTEM RESET {name}", name, "on")


def _everywhere(sql, name, value):
    with owner_cursor() as cursor:
        cursor.execute(sql)
        cursor.execute("SELECT pg_reload_conf()")

    def has_come():
        with connection.cursor() as cursor:
            cursor.execute(f"SHOW {name}")
            return cursor.fetchone() == (value,)

    wait_until(has_come, f"{name} is {value}")


@contextmanager
def pgbouncer(mode):
    """Run a PgBouncer before the tests' server for a block; give its port."""
    params = connection.get_connection_params()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        target = f"host={params['host']} port={params.get('port') or 5432}"
        login = f"user={params['user']}" + (
            f" password={params['password']}" if params.get("password") else ""
        )
        config = folder / "pgbouncer.ini"
        config.write_text(
            f"[databases]\n* = {target} {login}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
            f"unix_socket_dir =\nauth_type = any\npool_mode = {mode}\nignore_startup_parameters = options\n"
        )
        config.chmod(0o644)
        # It refuses to be root, and only its owner reaches the embedded server's socket.
        data = connection.settings_dict.get("EMBEDDED")
        owner = Path(data).owner() if data and os.geteuid() == 0 else None
        user = ["-u", owner or "nobody"] if os.geteuid() == 0 else []
        process = subprocess.Popen([PGBOUNCER, "-q", *user, str(config)], stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: process.poll() is not None or _listens(port), "PgBouncer listens")
            yield port
        finally:
            process.terminate()
            process.wait(15)


def _listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
