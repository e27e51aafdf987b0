"""Probes of load balancers: answers of a process whose database is well, down or silent."""

import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest
from django.conf import settings as project
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from directives.monitoring import gauges
from directives.queueing import clusters
from fleetprompt.health import readiness
from fleetprompt.telemetry import metrics
from tests.checks import other_migration_name
from tests.support import environment, wait_until

HOST = {"host": "localhost"}
PROBE = """
import json, sys, django
django.setup()
from django.test import Client
for path, host in (("/healthz", "localhost"), ("/readyz", "localhost"), ("/readyz", "10.1.2.3")):
    answer = Client().get(path, headers={"host": host})
    print(answer.status_code, answer.content.decode().replace("\\n", " "), flush=True)
"""


@pytest.fixture
def client(database, monkeypatch):
    monkeypatch.setattr(readiness, "_migrated_until", 0)
    return Client()


def test_a_process_that_lives_says_so_without_a_look_at_the_database(client):
    with CaptureQueriesContext(connection) as queries:
        answer = client.get("/healthz", headers=HOST)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert list(queries) == []


@pytest.mark.parametrize(("path", "status"), [("/healthz", 200), ("/readyz", 503)])
def test_probes_are_only_read_and_never_kept(client, path, status):
    assert client.head(path, headers=HOST).status_code == status
    assert "no-store" in client.get(path, headers=HOST).headers["Cache-Control"]
    assert client.post(path, headers=HOST).status_code == 405


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
@pytest.mark.parametrize("host", ["alpha.localhost", "10.1.2.3"])
def test_other_hosts_have_no_probes(client, path, host):
    assert client.get(path, headers={"host": host}).status_code == 404


def test_without_a_cluster_nothing_is_ready(client):
    assert _wrong(client) == {"cluster": "no cluster was seen lately"}


@pytest.mark.parametrize(
    ("schema", "reason"),
    [("public", "the public schema lacks migrations"), ("org_alpha", "tenants lack migrations")],
)
def test_a_schema_that_lacks_a_migration_is_not_ready_and_not_named(client, schema, reason):
    with other_migration_name(schema):
        assert _wrong(client)["migrations"] == reason
    assert "migrations" not in _wrong(client)


def test_a_broker_that_does_not_answer_is_not_ready(client, monkeypatch):
    from django_q.brokers.redis_broker import Redis
    from django_q.conf import Conf

    monkeypatch.setattr(Conf, "REDIS", "redis://:hidden-word@127.0.0.1:9/0")
    monkeypatch.setattr(clusters, "get_broker", Redis)
    assert _wrong(client)["broker"] == "the broker does not answer"
    assert "hidden-word" not in client.get("/readyz", headers=HOST).content.decode()


def test_those_who_ask_at_once_get_an_answer_each(client):
    answers = []

    def ask():
        answers.append(Client().get("/readyz", headers=HOST).json()["parts"])

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8
    assert all(parts["database"]["ok"] and not parts["cluster"]["ok"] for parts in answers)


def test_a_process_whose_database_is_down(database):
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        cwd=project.BASE_DIR,
        env=environment(
            DATABASE_URL="postgresql://forum:hidden-word@127.0.0.1:9/forum", DATABASE_OWNER_URL=""
        ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "hidden-word" not in done.stdout + done.stderr
    healthy, ready, stranger = done.stdout.splitlines()
    assert healthy == '200 {"status": "ok"}'
    assert ready.startswith('503 {"status": "unavailable"')
    assert stranger.startswith("404"), "a host that is not served is not looked up"


@pytest.mark.long
def test_a_database_that_accepts_and_says_nothing(client, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent, monkeypatch.context() as changed:
        _move_database(changed, silent.getsockname()[1])
        _assert_gave_up(client)
    assert "database" not in _wrong(client)


def test_a_database_that_stops_answering(client, monkeypatch):
    with _stops_answering(connection.get_connection_params()) as port, monkeypatch.context() as changed:
        _move_database(changed, port)
        _assert_gave_up(client)
    assert "database" not in _wrong(client)


@pytest.fixture
def counted(settings, tmp_path):
    settings.METRICS_FOLDER, settings.METRICS_TOKEN = str(tmp_path), "0123456789abcdef"
    metrics.REQUESTED.add("zoo.animal.work")
    cache.clear()


@pytest.mark.long
def test_metrics_of_a_process_whose_database_accepts_and_says_nothing(client, counted, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent, monkeypatch.context() as changed:
        _move_database(changed, silent.getsockname()[1])
        _assert_only_counters(client)
    assert "fleetprompt_database_up 1.0" in _metrics(client)


def test_metrics_of_a_process_whose_database_stops_answering(client, counted, monkeypatch):
    target = connection.get_connection_params()
    with _stops_answering(target, at=b"fleetprompt_cache") as port, monkeypatch.context() as changed:
        changed.setattr(gauges._question, "seconds", 1)
        _move_database(changed, port)
        _assert_only_counters(client)
    assert "fleetprompt_database_up 1.0" in _metrics(client)


def _metrics(client):
    answer = client.get("/metrics", headers={**HOST, "authorization": "Bearer 0123456789abcdef"})
    assert answer.status_code == 200
    return answer.content.decode()


def _assert_only_counters(client):
    # As in a server, where the thread of a request has a connection of its own.
    with ThreadPoolExecutor(8) as pool:
        pages = list(pool.map(lambda _: _metrics(client), range(8)))
    for page in pages:
        assert "fleetprompt_database_up 0.0" in page
        assert 'fleetprompt_directives_requested_total{name="zoo.animal.work"} 1.0' in page
    _assert_no_thread_waits("gauges")


def _wrong(client):
    answer = client.get("/readyz", headers=HOST)
    said = answer.json()
    assert (answer.status_code == 200) == (said["status"] == "ok")
    return {name: part["reason"] for name, part in said["parts"].items() if not part["ok"]}


def _move_database(changed, port):
    for name, value in {"EMBEDDED": None, "HOST": "127.0.0.1", "PORT": port}.items():
        changed.setitem(connection.settings_dict, name, value)


def _assert_gave_up(client):
    assert _wrong(client).keys() == {"database", "migrations", "broker", "cluster"}
    assert client.get("/healthz", headers=HOST).status_code == 200
    _assert_no_thread_waits("readiness")


def _assert_no_thread_waits(name):
    wait_until(
        lambda: name not in [thread.name for thread in threading.enumerate()],
        "no thread waits for the database",
    )


@contextmanager
def _stops_answering(params, *, at=b"SELECT 1"):
    """Stand between a client and the tests' server for a block, and drop all from the query `at` on."""
    family = socket.AF_UNIX if params["host"].startswith("/") else socket.AF_INET
    number = int(params.get("port") or 5432)
    target = f"{params['host']}/.s.PGSQL.{number}" if family == socket.AF_UNIX else (params["host"], number)

    def relay(source, sink, *, stops):
        with suppress(OSError):
            while data := source.recv(65536):
                if stops and at in data:
                    return
                sink.sendall(data)

    def serve():
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.socket(family)
                server.connect(target)
                lines.extend([client, server])
                for source, sink, stops in ((client, server, True), (server, client, False)):
                    threading.Thread(
                        target=relay, args=[source, sink], kwargs={"stops": stops}, daemon=True
                    ).start()

    lines = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    for line in lines:
        with suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)
        line.close()
