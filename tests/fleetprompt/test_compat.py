"""Compatibility modules: each private part works as needed, and the guard names other versions."""

import hashlib
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test.utils import CaptureQueriesContext

from fleetprompt import versions
from fleetprompt.health.checks.installation import private_parts
from fleetprompt.postgres.direct import prepared_cursor
from fleetprompt.sites import operators_site
from fleetprompt.telemetry import compat as telemetry
from fleetprompt.tenants.models import Tenant
from fleetprompt.web.compat import registered
from tests.checks import found
from tests.support import environment, in_threads


def test_the_installed_versions_are_the_known_ones():
    assert list(versions.mismatches()) == []
    assert found(private_parts) == {}


@pytest.mark.parametrize("known", ["4.2", "5", "5.2", "5.20", "5.2.1"])
def test_another_version_is_named(known, monkeypatch):
    monkeypatch.setattr(versions, "_GUARDS", {"a.compat": {"django": (known,)}})
    monkeypatch.setattr(versions, "version", lambda package: "5.2.19")
    said = found(private_parts)
    if known in ("5", "5.2"):
        assert said == {}
    else:
        assert said["fleetprompt.W014"].msg == (
            f"django 5.2.19 is installed; a.compat uses private parts of {known}"
        )


def test_each_thread_has_content_types_of_its_own(alpha):
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            ContentType.objects.get_for_model(Group)
        return sum("django_content_type" in query["sql"] for query in captured)

    ContentType.objects.clear_cache()
    assert [queries(), queries()] == [1, 0]
    assert in_threads(queries) == [1]
    assert queries() == 0


def test_a_prepared_statement_is_logged_with_its_values(alpha):
    with CaptureQueriesContext(connection) as captured, prepared_cursor() as cursor:
        cursor.execute("SELECT %s::int", [42])
    assert captured[-1]["sql"].startswith("SELECT 42")


def test_the_admins_of_a_site_are_known():
    assert Tenant in registered(operators_site)


OVERRIDDEN = {
    "admin/actions.html": "b5332aace8e69192",
    "unfold/helpers/command.html": "ae6ce324d8536613",
    "unfold/helpers/empty_results.html": "5f4727a37a99da76",
    "unfold/helpers/navigation_user.html": "4c9ba58b3f215326",
}
"""The beginnings of the SHA-256 of unfold's templates that the project's replace."""


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_unfolds_templates_are_those_that_ours_replace(name):
    import unfold

    original = Path(unfold.__file__).parent / "templates" / name
    assert hashlib.sha256(original.read_bytes()).hexdigest().startswith(OVERRIDDEN[name])


def test_a_collector_that_hangs_holds_up_the_end_for_no_longer_than_said():
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

    class Hanging(SpanExporter):
        def export(self, spans):
            time.sleep(20)
            return SpanExportResult.SUCCESS

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(telemetry.span_processor(Hanging(), shutdown_seconds=0.5))
    provider.get_tracer("test").start_span("one").end()
    start = time.monotonic()
    provider.shutdown()
    assert time.monotonic() - start < 10


def test_the_end_of_a_forked_worker_is_seen(tmp_path):
    def work() -> None:
        telemetry.at_process_end(lambda: (tmp_path / "ended").touch())

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(20)
    assert (tmp_path / "ended").exists()


def test_the_files_of_metrics_have_the_name_of_the_process(tmp_path):
    code = (
        "from fleetprompt.telemetry.compat import name_process_files\n"
        "name_process_files('word')\n"
        "from prometheus_client import Counter\n"
        "Counter('a', 'b', registry=None).inc()\n"
    )
    settings = {**environment(), "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=settings, check=True)
    assert os.listdir(tmp_path) == ["counter_word.db"]


def test_the_search_path_is_set_again_only_after_a_change(alpha):
    def statements() -> list[str]:
        with CaptureQueriesContext(connection) as captured, connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        return [query["sql"] for query in captured if "search_path" in query["sql"]]

    if connection.pg_version < 180_000:
        pytest.skip("the server does not report its search_path")
    statements()
    assert statements() == []
    with connection.cursor() as cursor:
        cursor.execute("SET search_path = public")
    [again] = statements()
    assert "org_alpha" in again
