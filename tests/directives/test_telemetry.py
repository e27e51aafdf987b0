"""Metrics and traces of requests and attempts in one process."""

import socket
import subprocess
import sys
from datetime import timedelta

import pytest
from django.conf import settings as project
from django.core.cache import cache
from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from directives.models import Directive
from directives.monitoring import gauges
from directives.outcomes import Kind
from fleetprompt.telemetry import context, exposition, metrics, tracing
from fleetprompt.tenants.context import in_tenant
from tests.collector import collector
from tests.directives.test_lost_signals import refusing
from tests.support import (
    ask_animal,
    change,
    claim,
    crash,
    environment,
    manage,
    owner_cursor,
    run,
    wait_until,
)

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def counted(settings, tmp_path, monkeypatch):
    """Turn metrics on; give a function that returns one."""
    settings.METRICS_FOLDER = str(tmp_path / "metrics")
    monkeypatch.setattr(exposition, "_sources", [])

    def read(metric, **labels):
        return sum(
            sample.value
            for family in text_string_to_metric_families(exposition.render()[0].decode())
            for sample in family.samples
            if sample.name == f"fleetprompt_{metric}" and labels.items() <= sample.labels.items()
        )

    return read


@pytest.fixture
def traced(settings, monkeypatch):
    """Turn traces on; give the collector."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    with collector() as found:
        settings.OTEL_EXPORTER_OTLP_ENDPOINT = found.url
        yield found


def gauge_values():
    return {(s.name, *s.labels.values()): s.value for family in gauges.collect() for s in family.samples}


def test_a_request_that_is_rolled_back_is_not_counted(alpha, counted):
    with transaction.atomic():
        ask_animal("work")
        transaction.set_rollback(True)
    assert counted("directives_requested_total") == 0
    ask_animal("work", "dog", idempotency_key="once")
    ask_animal("work", "dog", idempotency_key="once")
    assert counted("directives_requested_total", name="zoo.animal.work") == 1


def test_outcomes_are_those_that_were_recorded(alpha, counted):
    for name in ("work", "refuse", "stumble"):
        run(ask_animal(name, name, times=1))
    assert counted("directives_outcomes_total", outcome="succeeded", name="zoo.animal.work") == 1
    assert counted("directives_outcomes_total", outcome="failed", name="zoo.animal.refuse") == 1
    assert counted("directives_outcomes_total", outcome="retry_scheduled", name="zoo.animal.stumble") == 1
    assert counted("directives_outcomes_total") == 3


def test_waiting_is_counted_from_the_moment_it_was_due(alpha, counted):
    directive = ask_animal("work")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE directives_directive SET scheduled_at = now() - interval '50 seconds'")
    run(directive)
    assert counted("directives_waiting_seconds_bucket", le="30.0") == 0
    assert counted("directives_waiting_seconds_bucket", le="60.0") == 1


def test_a_directive_that_ends_by_its_lease_is_a_lost_lease_and_a_failure(alpha, counted):
    directive = ask_animal("work")
    Directive.objects.update(max_attempts=1)
    crash(directive)
    assert run(directive).kind == Kind.FAILED
    assert counted("directives_lost_leases_total", name="zoo.animal.work") == 1
    assert counted("directives_outcomes_total", outcome="failed") == 1
    assert counted("directives_execution_seconds_count") == 0


def test_signals_that_are_lost_are_counted_by_name(alpha, counted):
    directive = ask_animal("work")
    with refusing("zoo.animal.worked"):
        assert run(directive).kind == Kind.SUCCEEDED
    assert counted("signals_failed_writes_total", name="zoo.animal.worked") == 1
    assert counted("signals_failed_writes_total") == 1


def test_metrics_that_cannot_be_written_stop_no_directive(alpha, counted, settings, tmp_path):
    (tmp_path / "file").write_text("in the way")
    settings.METRICS_FOLDER = str(tmp_path / "file")
    assert run(ask_animal("work")).kind == Kind.SUCCEEDED


def test_a_retry_is_in_the_trace_of_its_request(alpha, traced):
    directive = ask_animal("stumble", times=1)
    run(directive)
    change(directive, scheduled_at=Now())
    run(directive)
    spans = wait_until(lambda: len(traced.spans()) == 3 and traced.spans(), "all spans")
    [request] = [span for span in spans if not span.parent]
    assert request.name == "request zoo.animal.stumble"
    assert directive.metadata["traceparent"].startswith(f"00-{request.trace}-{request.id}-")
    attempts = sorted((s for s in spans if s.parent), key=lambda s: s.attributes["fleetprompt.attempt"])
    assert [span.parent for span in attempts] == [request.id] * 2
    outcomes = [span.attributes["fleetprompt.outcome"] for span in attempts]
    assert outcomes == ["retry_scheduled", "succeeded"]


@pytest.mark.parametrize(
    ("given", "trace"),
    [
        ({}, None),
        ({"traceparent": 5}, None),
        ({"traceparent": "x"}, None),
        ({"traceparent": PARENT}, PARENT[3:35]),
    ],
)
def test_a_directive_of_untraced_times_begins_a_trace_whatever_its_metadata_says(
    alpha, settings, monkeypatch, given, trace
):
    directive = ask_animal("work")
    change(directive, metadata=given)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    with collector() as collected:
        settings.OTEL_EXPORTER_OTLP_ENDPOINT = collected.url
        assert run(directive).kind == Kind.SUCCEEDED
        [span] = wait_until(collected.spans, "the span")
    assert span.trace == trace if trace else not span.parent
    assert directive.metadata == given


def test_a_refused_request_is_a_failed_span_without_its_message(alpha, traced):
    with pytest.raises(ZeroDivisionError), tracing.span("x", {"tenant": "a"}, kind="PRODUCER"):
        raise ZeroDivisionError("what somebody wrote")
    [span] = wait_until(traced.spans, "the span")
    assert (span.failed, span.attributes["error.type"], span.events) == (True, "ZeroDivisionError", 0)
    assert b"somebody" not in traced.bodies[0]


def test_a_tenant_is_in_the_logs_context_while_it_is_active(database):
    with in_tenant("alpha"):
        assert context.current() == {"tenant": "alpha"}
    assert context.current() == {}


OFF = """
import sys
from directives import requests, runner
from fleetprompt.tenants.context import in_tenant
from signals.types import Actor
with in_tenant("alpha"):
    requests.request("zoo.animal.work", {"animal": "cat"}, actor=Actor("system", "x"))
    print([str(outcome.kind) for outcome in runner.run_due()])
names = ("fleetprompt.telemetry.work",
    "opentelemetry.exporter.otlp", "google.protobuf", "requests.sessions", "redis")
print([name for name in names if name in sys.modules])
"""


def test_what_is_off_is_not_even_loaded(database):
    ran = manage("shell", "-v", "0", "-c", OFF)
    assert ran.stdout.splitlines() == ["['succeeded']", "['fleetprompt.telemetry.work']"], ran.stderr


def test_a_collector_that_is_down_or_never_answers_stops_nothing(database):
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.create_server(("127.0.0.1", 0)) as closed:
        ports = [silent.getsockname()[1], closed.getsockname()[1]]
        closed.close()
        processes = [
            subprocess.Popen(
                [sys.executable, "manage.py", "shell", "-v", "0", "-c", OFF],
                cwd=project.BASE_DIR,
                env=environment(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}"),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for port in ports
        ]
        for process in processes:
            out, err = process.communicate(timeout=60)
            assert process.returncode == 0
            assert out.startswith(("['succeeded']", "[]")), "the other one may have run it"
            assert "Traceback" not in err
            assert len(err.splitlines()) <= 2, err


@pytest.fixture
def fresh(database):
    """Forget what was read for another test."""
    cache.clear()
    yield
    cache.clear()


def late(animal):
    """Ask for work that has been due for an hour."""
    directive = ask_animal("work", animal)
    hour = timedelta(hours=1)
    change(directive, scheduled_at=Now() - hour, queued_at=Now() - hour)


def test_gauges_tell_what_waits_in_all_tenants(fresh):
    for slug in ("alpha", "beta"):
        with in_tenant(slug):
            ask_animal("work", "now")
            ask_animal("work", "some day", scheduled_at=timezone.now() + timedelta(days=1))
            claim(ask_animal("work", "running"))
    with in_tenant("beta"):
        late("cat")
        # It waits behind the one that runs, so it is not due.
        late("running")
    values = gauge_values()
    assert values["fleetprompt_directives_due",] == 4
    assert values["fleetprompt_directives_later",] == 2
    assert values["fleetprompt_directives_running",] == 2
    assert 3600 <= values["fleetprompt_directives_oldest_due_age_seconds",] < 3700
    assert values["fleetprompt_database_up",] == 1
    assert values["fleetprompt_clusters",] == 0
    assert values["fleetprompt_queue_messages", "waiting"] >= 1
    assert values["fleetprompt_queue_messages", "later"] >= 1
    assert values["fleetprompt_tenants_stuck",] == 0, "a worker has picked something up"
    assert not any("alpha" in key or "beta" in key for key in values)


def test_the_oldest_is_the_oldest_that_could_be_started(fresh):
    with in_tenant("alpha"):
        claim(ask_animal("work", "cat"))
        late("cat")
        ask_animal("work", "dog")
    assert gauge_values()["fleetprompt_directives_oldest_due_age_seconds",] < 3000


def test_gauges_name_a_tenant_while_it_is_stuck(fresh):
    with in_tenant("beta"):
        late("cat")
    values = gauge_values()
    assert values["fleetprompt_tenants_stuck",] == 1
    assert values["fleetprompt_tenant_stuck", "beta"] == 1
    assert ("fleetprompt_tenant_stuck", "alpha") not in values


def test_without_an_answer_of_the_database_there_are_counters_and_one_gauge(fresh, counted):
    metrics.REQUESTED.add("zoo.animal.work")
    exposition.add_source(gauges.collect)
    with owner_cursor() as cursor:
        cursor.execute("ALTER TABLE public.fleetprompt_cache RENAME TO gone")
        try:
            assert gauge_values() == {("fleetprompt_database_up",): 0}
            assert counted("directives_requested_total") == 1
        finally:
            cursor.execute("ALTER TABLE public.gone RENAME TO fleetprompt_cache")
    assert counted("database_up") == 1
