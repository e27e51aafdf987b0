"""Metrics, traces and logs of a command, a web server and a cluster.

Everything is asked and done once; the tests look at what came of it.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen
from uuid import UUID

import pytest
from django.conf import settings
from django.db import connection
from django_q.tasks import async_task
from prometheus_client.parser import text_string_to_metric_families

from directives.models import Directive
from directives.outcomes import Kind
from directives.queueing import clusters
from fleetprompt.telemetry import metrics
from fleetprompt.tenants.context import in_tenant
from tests.accounts import logged_in, make_user
from tests.browser.web import web_server
from tests.collector import collector
from tests.support import ask_animal, crash, empty_tenants, ended, environment, manage, wait_until

SECRET = "Marzipan-7131"
"""Stands in payloads, in errors that quote them, and in addresses of forms; it must come out nowhere."""
TOKEN = "a-token-of-the-tests"
CORRELATION = "order 66"
FROM_WEB = UUID(int=7)

LINES = [
    *({"name": "zoo.animal.work", "payload": {"animal": f"cat {n}", "note": SECRET}} for n in range(3)),
    {"name": "zoo.animal.blurt", "payload": {"animal": "parrot", "note": SECRET}},
    {"name": "zoo.animal.blurt", "payload": {"animal": "toad", "note": SECRET}},
    {"name": "zoo.animal.blurt", "payload": {"animal": "mule", "note": SECRET}},
    {"name": "zoo.animal.blurt", "payload": {"animal": "ox", "note": SECRET}},
    {"name": "zoo.animal.delegate", "payload": {"animal": "fox"}},
    {"name": "zoo.animal.work", "payload": {"animal": "eel", "unknown": SECRET}},
]
ENDED = {"succeeded": 7, "failed": 4}


@dataclass
class Told:
    """What was told, by whom."""

    logs: dict[str, str] = field(default_factory=dict)
    scrapes: dict[str, str] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    spans: list = field(default_factory=list)
    bodies: bytes = b""
    directives: list = field(default_factory=list)
    answers: list = field(default_factory=list)

    def lines(self, source):
        """Return the JSON lines of a log."""
        return [json.loads(line) for line in self.logs[source].splitlines() if line.startswith("{")]

    def samples(self, source):
        """Return the samples of a scrape, by name and labels."""
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(self.scrapes[source])
            for sample in family.samples
        }

    def attempts(self, *names):
        """Return the spans of attempts at directives of some names."""
        return [span for span in done(self.spans) if span.name in {f"execute {name}" for name in names}]


def done(spans):
    """Leave out what failed in a group, to be executed again alone."""
    return [span for span in spans if "fleetprompt.again" not in span.attributes]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def observed_cluster(log, port, **extra):
    command = [sys.executable, "manage.py", "cluster", "--metrics-port", str(port)]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=settings.BASE_DIR,
            env=environment(CLUSTER_WORKERS="2", **extra),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            wait_until(lambda: b"running." in log.read_bytes(), "the cluster runs")
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise


def fetch(url, data=None, **headers):
    """Return the status, the text and the request id of an answer; `data` is posted as a form."""
    wanted = {name.replace("_", "-"): value for name, value in headers.items()}
    body = urlencode(data).encode() if data else None
    try:
        with urlopen(Request(url, body, wanted), timeout=30) as answer:  # noqa: S310 - http only
            return answer.status, answer.read().decode(), answer.headers["X-Request-ID"]
    except HTTPError as error:
        return error.code, "", error.headers["X-Request-ID"]


def ask_in_the_browser(port, session):
    """Request a directive through the form, after an address that fills it; return the form's answers."""
    headers = {"Host": "alpha.localhost", "X_CSRFToken": "c" * 32, "X_Request_ID": "r-1"}
    headers["Cookie"] = f"csrftoken={headers['X_CSRFToken']}; sessionid={session}"
    payload = {"animal": "owl", "note": SECRET, "seconds": 0, "times": 0}
    fields = {f"payload_{name}": value for name, value in payload.items()} | {"reason": "?", "when": "now"}
    form = f"http://127.0.0.1:{port}/admin/directives/directive/request/zoo.animal.work/"
    return [
        fetch(f"{form}?{urlencode(fields)}", **headers),
        fetch(form, fields | {"confirm": "request", "batch": str(FROM_WEB)}, **headers),
        fetch(f"http://127.0.0.1:{port}/threads/{UUID(int=1)}/?q={SECRET}", **headers),
    ]


@pytest.fixture(scope="module")
def told(_tenants_exist, django_db_blocker, tmp_path_factory):
    folder = tmp_path_factory.mktemp("telemetry")
    with django_db_blocker.unblock():
        connection.set_schema_to_public()
        found = Told()
        _happen(found, folder)
        connection.close()
        connection.set_schema_to_public()
        empty_tenants()
        connection.close()
    return found


def _happen(found, folder):
    with in_tenant("alpha"):
        stalled = ask_animal("roam", "ghost")
        crash(stalled)
    client = logged_in("alpha", make_user("alpha", is_superuser=True))
    session = client.cookies["sessionid"].value
    port = free_port()
    requests = folder / "requests.jsonl"
    requests.write_text("\n".join(json.dumps(line) for line in LINES))
    with collector() as collected:
        extra = {
            "LOG_LEVEL": "DEBUG",
            "LOG_FORMAT": "json",
            # Django says in words of its own what its checks find, such as a lease of one second.
            "DIRECTIVES_LEASE_SECONDS": "60",
            "METRICS_FOLDER": str(folder / "metrics"),
            "METRICS_TOKEN": TOKEN,
            "OTEL_EXPORTER_OTLP_ENDPOINT": collected.url,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        web, cluster = folder / "web.log", folder / "cluster.log"
        with web_server(web, **extra) as web_port, observed_cluster(cluster, port, **extra):
            # What is told of clusters is kept for seconds.
            wait_until(clusters.clusters, "the cluster says that it is alive")
            options = ["--tenant", "alpha", "--actor", "agent:a", "--correlation-id", CORRELATION]
            command = manage("directive", "request", "--from", str(requests), *options, **extra)
            assert (command.returncode, "line 9" in command.stderr) == (1, True), command.stderr
            found.answers = ask_in_the_browser(web_port, session)
            async_task("builtins.int", SECRET)
            wait_until(_all_ended, "all have ended")
            wait_until(lambda: "Failed" in cluster.read_text(), "the message that fails has failed")
            site, exporter = f"http://127.0.0.1:{web_port}/metrics", f"http://127.0.0.1:{port}/metrics"
            known = {"Authorization": f"Bearer {TOKEN}"}
            # Workers count and trace after the commit that was waited for.
            last = f'outcome="failed"}} {float(ENDED["failed"])}'
            wait_until(lambda: last in fetch(site, **known)[1], "the last one is counted")
            wait_until(lambda: len(of_web(collected.spans())) == 2, "the web's spans have arrived")
            found.statuses["web"], found.scrapes["web"], _ = fetch(site, **known)
            found.statuses["cluster"], found.scrapes["cluster"], _ = fetch(exporter, **known)
            for name, (url, headers) in {
                "web without a token": (site, {}),
                "web with a wrong token": (site, {"Authorization": "Bearer x"}),
                "a tenant's host": (site, {**known, "Host": "alpha.localhost"}),
                "cluster without a token": (exporter, {}),
                "another path of the cluster": (f"{exporter}/x", known),
            }.items():
                found.statuses[name] = fetch(url, **headers)[0]
        found.spans, found.bodies = collected.spans(), b"".join(collected.bodies)
    found.logs = {"web": web.read_text(), "cluster": cluster.read_text(), "command": command.stderr}
    with in_tenant("alpha"):
        found.directives = list(Directive.objects.order_by("created_at", "id"))


def of_web(spans):
    """Return the spans of what was requested in the browser."""
    return [span for span in spans if span.attributes.get("fleetprompt.correlation") == str(FROM_WEB)]


def _all_ended():
    with in_tenant("alpha"):
        asked = list(Directive.objects.all())
        return len(asked) == len(LINES) + 2 and ended(asked)


def test_what_happened_is_what_the_tests_mean(told):
    assert Counter(directive.status for directive in told.directives) == ENDED
    quoted = [d for d in told.directives if SECRET in d.last_error]
    assert len(quoted) == 4, "the secret is in errors, and people may read it there"
    assert sum(SECRET in json.dumps(d.payload) for d in told.directives) == 8


@pytest.mark.parametrize("source", ["web", "cluster"])
def test_metrics_are_those_of_all_processes(told, source):
    samples = told.samples(source)

    def total(metric, **labels):
        return samples.get((f"fleetprompt_{metric}", tuple(sorted(labels.items()))), 0)

    assert total("directives_requested_total", name="zoo.animal.work") == 5, (
        "3 by the command, 1 by the web, 1 by the fox"
    )
    assert total("directives_requested_total", name="zoo.animal.blurt") == 4
    assert total("directives_outcomes_total", name="zoo.animal.work", outcome="succeeded") == 5
    assert total("directives_outcomes_total", name="zoo.animal.blurt", outcome="failed") == 4
    assert total("directives_outcomes_total", name="zoo.animal.blurt", outcome="retry_scheduled") == 2
    assert total("directives_execution_seconds_count", name="zoo.animal.work") == 5
    assert total("directives_waiting_seconds_count", name="zoo.animal.blurt") == 6
    assert total("directives_lost_leases_total", name="zoo.animal.roam") == 1
    assert total("directives_waiting_seconds_count", name="zoo.animal.roam") == 0, "it stalled"
    assert total("database_up") == 1
    assert (total("clusters"), total("workers")) == (1, 2)
    assert ("fleetprompt_queue_messages", (("state", "waiting"),)) in samples


def test_metrics_have_a_closed_set_of_labels(told):
    labels = {}
    for name, pairs in told.samples("cluster"):
        for label, value in pairs:
            labels.setdefault(label, set()).add(value)
        assert name.startswith("fleetprompt_")
    assert labels["outcome"] <= {str(kind) for kind in Kind}
    assert labels["name"] <= {directive.name for directive in told.directives}
    assert labels.keys() <= {"name", "outcome", "le", "state"}, "no tenant is stuck, so none is named"


def test_metrics_are_for_those_with_the_token_on_the_operators_host(told):
    assert told.statuses == {
        "web": 200,
        "cluster": 200,
        "web without a token": 401,
        "web with a wrong token": 401,
        "a tenant's host": 404,
        "cluster without a token": 401,
        "another path of the cluster": 404,
    }


def test_one_trace_goes_from_the_command_through_the_queue_to_the_cluster(told):
    [request] = [span for span in told.spans if span.name == "request 3 names"]
    attempts = [s for s in done(told.spans) if s.parent == request.id]
    assert {span.trace for span in attempts} == {request.trace}
    assert Counter(span.name for span in attempts) == {
        "execute zoo.animal.work": 3,
        "execute zoo.animal.blurt": 6,
        "execute zoo.animal.delegate": 1,
    }
    assert request.attributes["fleetprompt.count"] == 8
    assert {span.attributes["fleetprompt.correlation"] for span in [request, *attempts]} == {CORRELATION}
    pids = {span.resource["process.pid"] for span in attempts}
    assert request.resource["process.pid"] not in pids
    assert {span.resource["service.name"] for span in told.spans} == {"fleetprompt"}


def test_what_a_directive_requests_is_in_its_trace(told):
    [fox] = told.attempts("zoo.animal.delegate")
    [request] = [span for span in told.spans if span.parent == fox.id]
    [attempt] = [span for span in told.spans if span.parent == request.id]
    assert (request.name, attempt.name) == ("request zoo.animal.work", "execute zoo.animal.work")
    assert attempt.trace == fox.trace


def test_a_request_in_the_browser_is_a_trace_with_the_batch_as_its_correlation(told):
    mine = of_web(told.spans)
    assert {span.name for span in mine} == {"request zoo.animal.work", "execute zoo.animal.work"}
    assert len({span.trace for span in mine}) == 1
    [directive] = [d for d in told.directives if d.correlation_id == str(FROM_WEB)]
    assert directive.metadata["traceparent"].split("-")[1] == mine[0].trace


def test_attempts_say_what_they_are_and_how_they_ended(told):
    by_id = {str(directive.id): directive for directive in told.directives}
    for span in told.attempts("zoo.animal.work", "zoo.animal.blurt", "zoo.animal.delegate"):
        attributes = {key.removeprefix("fleetprompt."): value for key, value in span.attributes.items()}
        directive = by_id[attributes["directive"]]
        assert attributes["tenant"] == "alpha"
        assert attributes["name"] == directive.name
        assert attributes["outcome"] in {str(kind) for kind in Kind}
        assert 1 <= attributes["attempt"] <= directive.attempt
        assert span.failed == (attributes["outcome"] != "succeeded")
        assert span.events == 0, "no exception with its message"
    errors = Counter(span.attributes.get("error.type") for span in told.attempts("zoo.animal.blurt"))
    assert errors == {"ValueError": 1, "DataError": 1, "Retry": 3, "DirectiveError": 1}


def test_a_clusters_log_is_one_json_object_a_line(told):
    lines = told.lines("cluster")
    assert len(lines) == len(told.logs["cluster"].splitlines())
    assert all({"time", "level", "logger", "message", "process"} <= line.keys() for line in lines)
    assert {"django-q", "fleetprompt.telemetry.work", "directives.executing.recording"} <= {
        line["logger"] for line in lines
    }


def test_what_an_attempt_logs_says_where_it_belongs(told):
    [parrot] = [directive for directive in told.directives if directive.subject_id == "parrot"]
    lines = [line for line in told.lines("cluster") if line.get("directive") == str(parrot.id)]
    assert {line["logger"] for line in lines} == {
        "directives.executing.recording",
        "fleetprompt.telemetry.work",
    }
    [failure] = [line for line in lines if line["level"] == "WARNING"]
    expected = {"tenant": "alpha", "name": "zoo.animal.blurt", "attempt": 1, "correlation": CORRELATION}
    assert expected.items() <= failure.items()
    assert failure["trace"] == parrot.metadata["traceparent"].split("-")[1]
    assert failure["exception"] == "ValueError"
    assert "animals.py" in failure["stack"]
    assert re.search(r"KeyError\nwhich directly led to:\n", failure["stack"])


def test_a_message_that_fails_is_logged_without_what_it_says(told):
    [line] = [line for line in told.lines("cluster") if line["level"] == "ERROR"]
    assert line["logger"] == "django-q"
    assert re.fullmatch(r"Failed 'builtins.int' \([\w-]+\)", line["message"])


def test_a_database_error_is_logged_with_its_code(told):
    failures = {line["exception"] for line in told.lines("cluster") if "exception" in line}
    assert failures == {"ValueError", "DataError [22P02]"}


def test_requests_are_logged_by_who_made_them(told):
    [line] = [line for line in told.lines("command") if line["logger"] == "directives.requests"]
    assert line["message"] == "requested 8: 3 names"
    assert (line["tenant"], line["correlation"]) == ("alpha", CORRELATION)
    [line] = [line for line in told.lines("web") if line["logger"] == "directives.requests"]
    assert line["message"] == "requested 1: zoo.animal.work"
    assert (line["request"], line["correlation"]) == ("r-1", str(FROM_WEB))


def test_a_web_request_is_known_by_its_id(told):
    assert [(status, request) for status, _, request in told.answers] == [(200, "r-1")] * 2 + [(404, "r-1")]
    [missing] = [line for line in told.lines("web") if line["message"].startswith("Not Found: /threads/")]
    assert (missing["tenant"], missing["request"]) == ("alpha", "r-1")
    assert any("?…" in line["message"] for line in told.lines("web") if line["logger"] == "django.server")


@pytest.mark.parametrize(
    "source", ["log web", "log cluster", "log command", "metrics web", "metrics cluster"]
)
def test_nothing_of_a_payload_is_told(told, source):
    kind, _, name = source.partition(" ")
    text = (told.logs if kind == "log" else told.scrapes)[name]
    assert len(text) > 100
    assert SECRET not in text


def test_nothing_of_a_payload_is_traced(told):
    assert b"fleetprompt.directive" in told.bodies
    assert SECRET.encode() not in told.bodies


def test_every_metric_is_documented(told):
    page = (settings.BASE_DIR / "docs/reference/telemetry.md").read_text()
    documented = set(re.findall(r"^\| `(fleetprompt_\w+)` \|", page, re.M))
    counted = {measure.name + ("" if measure.buckets else "_total") for measure in metrics.ALL}
    gauges = {
        family.name
        for family in text_string_to_metric_families(told.scrapes["web"])
        if family.type == "gauge"
    }
    assert documented == counted | gauges
