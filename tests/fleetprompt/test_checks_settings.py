"""Settings of the project and its machine that the doctor speaks up about."""

from importlib.metadata import version

import pytest

from fleetprompt.health.checks import machine
from fleetprompt.health.checks import settings as checks
from fleetprompt.tenants.checks import context
from tests.checks import found

CHECKS = [
    checks.time_zones,
    checks.transactions,
    checks.kept_connections,
    checks.cache,
    checks.public_hosts,
    context.search_path,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_projects_own_settings_are_fine(check, settings):
    assert found(check) == {}


def test_times_without_zones_are_an_error(settings):
    settings.USE_TZ = False
    assert list(found(checks.time_zones)) == ["fleetprompt.E001"]


@pytest.mark.parametrize(
    ("check", "changed", "number"),
    [
        (checks.transactions, {"ATOMIC_REQUESTS": True}, "fleetprompt.E002"),
        (checks.transactions, {"AUTOCOMMIT": False}, "fleetprompt.E003"),
        (
            checks.kept_connections,
            {"CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": False, "EMBEDDED": None},
            "fleetprompt.W001",
        ),
        (
            checks.kept_connections,
            {"CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": False, "EMBEDDED": None},
            "fleetprompt.W001",
        ),
    ],
)
def test_database_settings_that_harm(settings, monkeypatch, check, changed, number):
    for name, value in changed.items():
        monkeypatch.setitem(settings.DATABASES["default"], name, value)
    assert list(found(check)) == [number]


def test_a_cache_of_one_process_is_an_error(settings):
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    assert list(found(checks.cache)) == ["fleetprompt.E004"]


def test_a_search_path_that_is_not_set_each_time_is_an_error(settings):
    settings.TENANT_LIMIT_SET_CALLS = True
    assert list(found(context.search_path)) == ["tenants.E001"]


def test_operators_hosts_that_nobody_is_served_on(settings):
    settings.DEBUG = False
    settings.ALLOWED_HOSTS = [".example.org"]
    assert list(found(checks.public_hosts)) == ["fleetprompt.W002"]
    settings.PUBLIC_HOSTS = ["127.0.0.1", "ops.example.org"]
    assert found(checks.public_hosts) == {}
    settings.PUBLIC_HOSTS = []
    assert "which is empty" in found(checks.public_hosts)["fleetprompt.W002"].msg


def test_a_development_installation_is_said_to_be_one(settings):
    settings.DEBUG = True
    assert list(found(checks.debug)) == ["fleetprompt.I001"]
    settings.DEBUG = False
    assert found(checks.debug) == {}


def test_static_files_that_were_not_collected(settings, tmp_path):
    settings.DEBUG = False
    settings.STATIC_ROOT = tmp_path / "static"
    assert list(found(machine.static_files)) == ["fleetprompt.W003"]
    settings.STATIC_ROOT.mkdir()
    assert list(found(machine.static_files)) == ["fleetprompt.W003"]
    (settings.STATIC_ROOT / "admin.css").touch()
    assert found(machine.static_files) == {}


def test_packages_that_are_not_the_pinned_ones(settings, tmp_path):
    pins = tmp_path / "requirements" / "base.txt"
    pins.parent.mkdir()
    pins.write_text("django==1.0 \\\n    --hash=sha256:0\nno-such-package==1.0 ; sys_platform == 'win32'\n")
    settings.BASE_DIR = tmp_path
    said = found(machine.packages)["fleetprompt.I002"].msg
    assert "django" in said
    assert "(tested: 1.0)" in said
    assert "no-such-package" not in said
    pins.write_text(f"django=={version('django')} \\\n")
    assert found(machine.packages) == {}
