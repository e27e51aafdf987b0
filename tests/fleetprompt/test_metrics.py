"""The folder of metrics: many processes that begin, end and crash; authorisation of readers."""

import os
import random
import resource
import shutil
import signal
import socket
import traceback
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest
from django.core.management import CommandError, call_command
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from fleetprompt.telemetry import errors, exposition, metrics
from fleetprompt.telemetry.folder import fold, locked

TOKEN = "0123456789abcdef"
NUMBERS = count()


@pytest.fixture
def folder(settings, tmp_path, monkeypatch):
    settings.METRICS_FOLDER = str(tmp_path / "metrics")
    monkeypatch.setattr(exposition, "_sources", [])
    monkeypatch.setattr(errors, "_said", set())
    return tmp_path / "metrics"


def in_a_process(function):
    """Call the function in a process of its own, as a cluster's worker is one; it must end well."""
    pid = os.fork()
    if not pid:
        try:
            function()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0


def read():
    """Return the samples that Prometheus would see, by name and the label `name`."""
    return {
        (
            sample.name.removeprefix("fleetprompt_"),
            sample.labels["name"],
            sample.labels.get("le"),
        ): sample.value
        for family in text_string_to_metric_families(exposition.render()[0].decode())
        for sample in family.samples
    }


def requested(name="cat"):
    return read().get(("directives_requested_total", name, None), 0)


def test_nothing_is_kept_while_no_folder_is_named(settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings.METRICS_FOLDER = ""
    metrics.REQUESTED.add("cat")
    assert list(tmp_path.iterdir()) == []


def test_processes_are_added_up_and_those_that_are_gone_leave_no_files(folder):
    metrics.REQUESTED.add("cat")
    for number in range(5):
        in_a_process(
            lambda: (metrics.REQUESTED.add("cat", amount=2), metrics.EXECUTION.add("cat", amount=0.2))
        )
        # Each process cleans up after the one before it, whether anybody reads or not.
        assert len(list(folder.glob("*.db"))) <= 2 + 2 + 2, number
    assert requested() == 11
    found = read()
    assert found["directives_execution_seconds_count", "cat", None] == 5
    assert found["directives_execution_seconds_sum", "cat", None] == pytest.approx(1.0)
    assert found["directives_execution_seconds_bucket", "cat", "0.1"] == 0
    assert found["directives_execution_seconds_bucket", "cat", "0.25"] == 5
    assert len(list(folder.glob("*.db"))) == 2 + 2, "of this process, and of all that are gone"


def test_a_forked_process_does_not_write_into_its_parents_files(folder):
    metrics.REQUESTED.add("cat", amount=3)
    before = {path.name for path in folder.glob("*.db")}

    def child():
        metrics.REQUESTED.add("cat")
        assert len({path.name for path in folder.glob("*.db")} - before) == 2

    in_a_process(child)
    metrics.REQUESTED.add("cat")
    assert requested() == 5


@hypothesis_settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.lists(st.integers(1, 9), max_size=4), min_size=1, max_size=4), st.integers())
def test_no_count_is_lost_or_doubled_whenever_files_are_added_up(folder, processes, seed):
    name, dice = f"cat {next(NUMBERS)}", random.Random(seed)
    metrics.REQUESTED.add("any")
    for amounts in processes:
        in_a_process(lambda amounts=amounts: [metrics.REQUESTED.add(name, amount=n) for n in amounts])
        if dice.random() < 0.5:
            with locked(folder):
                fold(folder)
    assert requested(name) == sum(map(sum, processes))


def test_those_who_read_at_once_see_the_same(folder):
    for _ in range(3):
        in_a_process(lambda: metrics.REQUESTED.add("cat"))
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda _: requested(), range(12))) == [3] * 12


@pytest.mark.parametrize("rubbish", [b"", b"\x40\x00\x00\x00\x00\x00\x00\x00\xff\xff"])
def test_a_damaged_file_of_a_process_that_is_gone_is_left_out_and_removed(folder, rubbish, caplog):
    in_a_process(lambda: metrics.REQUESTED.add("cat"))
    gone = next(folder.glob("counter_*-*.db")).with_name("counter_4999999-abc.db")
    gone.write_bytes(rubbish)
    assert requested() == 1
    assert not gone.exists()
    assert "is damaged" in caplog.text


DAMAGED = [
    b"",
    b"\x40\x00",
    b"\x40\x00\x00\x00\x00\x00\x00\x00\xff\xff",
    b"\x28\x00\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00rub." + bytes(24),
    b"\x28\x00\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00[{}]" + bytes(24),
]


@pytest.mark.parametrize("rubbish", DAMAGED)
@pytest.mark.parametrize("kind", ["counter", "histogram"])
def test_a_damaged_file_of_a_living_process_hides_nothing_but_itself(folder, kind, rubbish, caplog):
    metrics.REQUESTED.add("cat")
    in_a_process(lambda: metrics.REQUESTED.add("cat"))
    damaged = folder / f"{kind}_{os.getppid()}-abc.db"
    damaged.write_bytes(rubbish)
    assert [requested(), requested()] == [2, 2]
    assert caplog.text.count(f"{damaged} is damaged") == 1
    assert damaged.exists(), "its process may still write to it"


@pytest.mark.parametrize("rubbish", DAMAGED)
def test_what_is_damaged_does_not_spoil_what_is_added_up(folder, rubbish):
    in_a_process(lambda: metrics.REQUESTED.add("cat"))
    gone = next(folder.glob("counter_*-*.db")).with_name("counter_4999999-abc.db")
    gone.write_bytes(rubbish)
    with locked(folder):
        fold(folder)
    in_a_process(lambda: metrics.REQUESTED.add("cat"))
    with locked(folder):
        fold(folder)
    assert not gone.exists()
    assert requested() == 2


def test_a_folder_beside_the_files_hides_nothing(folder):
    metrics.REQUESTED.add("cat")
    (folder / "old.db").mkdir()
    (folder / "counter_1-old.db").mkdir()
    assert requested() == 1


def full(limit=100_000):
    """Have each file that this process writes end where a disk that is full would end it."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def test_a_process_that_finds_no_room_leaves_no_cut_file(folder):
    metrics.REQUESTED.add("cat")
    before = sorted(folder.iterdir())

    def child():
        full()
        metrics.REQUESTED.add("cat")
        metrics.EXECUTION.add("cat", amount=1)
        assert sorted(folder.iterdir()) == before

    in_a_process(child)
    assert requested() == 1


def test_without_room_what_is_gone_stays_counted_file_by_file(folder):
    for _ in range(3):
        in_a_process(lambda: metrics.REQUESTED.add("cat"))
    before = sorted(folder.iterdir())

    def child():
        full()
        assert requested() == 3

    in_a_process(child)
    assert sorted(folder.iterdir()) == before
    assert requested() == 3


def test_a_folder_that_is_removed_meanwhile_is_made_again_and_said_once(folder, monkeypatch, caplog):
    monkeypatch.setattr(metrics, "CHECK_SECONDS", 0)
    metrics._opened.cache_clear()
    metrics.REQUESTED.add("cat", amount=5)
    shutil.rmtree(folder)
    for _ in range(3):
        metrics.REQUESTED.add("cat")
        metrics.EXECUTION.add("cat", amount=1)
    assert requested() == 3
    assert read()["directives_execution_seconds_count", "cat", None] == 3
    assert [record.getMessage() for record in caplog.records] == [
        f"metrics: the files of this process in {folder} were removed; it counts from zero again"
    ]


def test_a_folder_that_cannot_be_made_is_complained_of_once_and_breaks_nothing(settings, folder, caplog):
    folder.write_text("a file stands in the way")
    for _ in range(3):
        metrics.REQUESTED.add("cat")
        metrics.EXECUTION.add("cat", amount=1)
    assert [record.getMessage()[:8] for record in caplog.records] == ["metrics "]


def test_wrong_labels_are_complained_of_once_and_break_nothing(folder, caplog):
    for _ in range(3):
        metrics.REQUESTED.add("cat", "too many")
    assert len(caplog.records) == 1


def test_a_source_that_breaks_takes_nothing_else_with_it(folder, caplog):
    metrics.REQUESTED.add("cat")
    exposition.add_source(lambda: 1 / 0)
    assert [requested(), requested()] == [1, 1]
    assert caplog.text.count("division by zero") == 1


@pytest.mark.parametrize(
    ("token", "given", "peer", "trusts", "status"),
    [
        (TOKEN, f"Bearer {TOKEN}", "203.0.113.7", False, 0),
        (TOKEN, f"Bearer {TOKEN}x", "127.0.0.1", True, 401),
        (TOKEN, f"Basic {TOKEN}", "127.0.0.1", True, 401),
        (TOKEN, "Bearer ünïcode", "127.0.0.1", True, 401),
        (TOKEN, "", "127.0.0.1", True, 401),
        ("", "", "127.0.0.1", True, 0),
        ("", "", "::1", True, 0),
        ("", "Bearer ", "203.0.113.7", True, 404),
        ("", "", "", True, 404),
        ("", "", "127.0.0.1", False, 404),
    ],
)
def test_who_may_read(settings, token, given, peer, trusts, status):
    settings.METRICS_TOKEN = token
    environ = {"HTTP_AUTHORIZATION": given, "REMOTE_ADDR": peer}
    assert exposition.refusal(environ, trusts_peers=trusts) == status


def test_without_metrics_there_is_no_page(settings, client):
    settings.METRICS_FOLDER, settings.METRICS_TOKEN = "", TOKEN
    answer = client.get("/metrics", headers={"host": "localhost", "authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 404


def test_in_production_a_token_is_required_because_a_local_proxy_may_forward_any_reader(
    folder, settings, client
):
    assert settings.DEBUG is False
    assert client.get("/metrics", headers={"host": "localhost"}).status_code == 404
    settings.DEBUG = True
    assert client.get("/metrics", headers={"host": "localhost"}).status_code == 200
    far = client.get("/metrics", headers={"host": "localhost"}, REMOTE_ADDR="203.0.113.7")
    assert far.status_code == 404


def test_openmetrics_is_given_to_those_who_want_it(folder, settings, client):
    settings.DEBUG = True
    headers = {"host": "localhost", "accept": "application/openmetrics-text; version=1.0.0"}
    answer = client.get("/metrics", headers=headers)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.content.endswith(b"# EOF\n")


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"metrics_port": 0}, "--metrics-port: expected"),
        ({"metrics_port": 70000}, "--metrics-port: expected"),
        ({"metrics_port": 9100, "metrics_address": "192.0.2.1"}, "--metrics-address: 192.0.2.1"),
        ({"metrics_port": 9100, "metrics_address": "here"}, "--metrics-address: here"),
    ],
)
def test_a_cluster_refuses_to_serve_metrics_badly(folder, settings, options, named):
    settings.METRICS_TOKEN = ""
    with pytest.raises(CommandError, match=named):
        call_command("cluster", **options)


def test_a_cluster_refuses_to_serve_metrics_that_are_off(settings):
    settings.METRICS_FOLDER = ""
    with pytest.raises(CommandError, match="METRICS_FOLDER is not set"):
        call_command("cluster", metrics_port=9100)


def test_a_cluster_refuses_a_port_that_is_taken(folder, settings):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CommandError, match=f"127.0.0.1:{port} cannot be used"):
            call_command("cluster", metrics_port=port)
