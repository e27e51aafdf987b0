"""`manage.py doctor`: output and exit status on databases that are well, down or empty."""

import io
import json

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from directives.monitoring.checks import queueing
from fleetprompt.health.checkup import CHECKS, known_tenants
from fleetprompt.tenants.models import Tenant
from tests.checks import altered
from tests.recipes import tenants
from tests.support import database_url, manage


def doctor(*arguments):
    """Run the command; return what it printed and its error."""
    out = io.StringIO()
    try:
        call_command("doctor", *arguments, stdout=out)
    except CommandError as error:
        return out.getvalue(), str(error)
    return out.getvalue(), ""


@pytest.fixture(autouse=True)
def _brief_wait(monkeypatch):
    """Give a cluster that is not there less time to report."""
    monkeypatch.setattr(queueing, "HEARTBEAT_TIMEOUT_SECONDS", 0.1)


@pytest.fixture
def unserved(database):
    """A warning about the tenant alpha."""
    domain = tenants.domain.make(tenant=Tenant.objects.get(slug="alpha"), domain="alpha.example.org")
    yield
    domain.delete()


def test_programs_get_every_finding_and_every_check(unserved):
    out, error = doctor("--format", "json")
    said = json.loads(out)
    found = {finding["id"]: finding for finding in said["findings"]}
    assert found["directives.E021"]["level"] == "error"
    warning = found["tenants.W002"]
    assert (warning["level"], warning["tenants"]) == ("warning", ["alpha"])
    assert "alpha.example.org" in warning["what"]
    assert "ALLOWED_HOSTS" in warning["mend"]
    assert warning["check"] == "every tenant has a host that is served"
    assert said["healthy"] is False
    assert said["not_made"] == []
    known = {check.title for check in CHECKS} | {
        "the database answers",
        "Django's own checks find nothing",
    }
    assert set(said["passed"]) | {finding["check"] for finding in said["findings"]} == known
    assert error.startswith("1 error and")


def test_people_get_a_table_the_worst_first_and_a_sentence(unserved):
    out, error = doctor("--passed")
    assert "ok: signals cannot be changed" in out
    assert "every tenant has a host that is served" not in out
    assert out.index("directives.E021") < out.index("tenants.W002")
    assert "1 error and" in error
    assert "queue and all tenants" in error


def test_one_tenant_alone_is_looked_at(unserved):
    for slug, expected in (("alpha", True), ("beta", False)):
        out, error = doctor("--tenant", slug)
        assert ("tenants.W002" in out) == expected
        assert error.endswith(f"queue and the tenant {slug}.")
    assert doctor("--tenant", "nobody") == (
        "",
        "--tenant: there is no tenant 'nobody'; see `tenant list`",
    )


def test_silenced_checks_are_not_reported(unserved, settings):
    settings.SILENCED_SYSTEM_CHECKS = ["tenants.W002", "directives.E021"]
    out, error = doctor()
    assert "tenants.W002" not in out
    assert error == ""
    assert doctor("--fail-level", "warning")[1], "the tests' short lease is a warning"


def test_a_database_that_is_down_is_a_finding(database):
    url = "postgresql://forum:hidden-word@127.0.0.1:9/forum"
    done = manage("doctor", DATABASE_URL=url, DATABASE_OWNER_URL="")
    assert done.returncode == 1
    assert "doctor.E001" in done.stdout
    assert "Connection refused" in done.stdout
    assert "that need the database were not made." in done.stderr
    assert "Traceback" not in done.stderr
    assert "hidden-word" not in done.stdout + done.stderr


def test_an_empty_database_is_a_finding(database):
    with altered("CREATE DATABASE test_doctors_empty", "DROP DATABASE test_doctors_empty"):
        url = database_url().replace(connection.settings_dict["NAME"], "test_doctors_empty")
        done = manage("doctor", "--format", "json", DATABASE_URL=url, DATABASE_OWNER_URL="")
    said = json.loads(done.stdout)
    assert [one["what"] for one in said["findings"] if one["level"] == "error"] == [
        "the public schema has no tables yet"
    ]
    assert "every tenant is up to date" in said["not_made"]


def test_a_thousand_tenants_take_few_statements(database):
    tenants = known_tenants() | {f"org_{number}": str(number) for number in range(1000)}
    for check in CHECKS:
        with CaptureQueriesContext(connection) as queries:
            check(app_configs=None, databases=["default"], tenants=tenants)
        statements = [query for query in queries if not query["sql"].startswith("SET search_path")]
        assert len(statements) < 60, check.title
