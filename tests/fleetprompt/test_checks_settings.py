"""Checks of settings and of the machine."""

from fleetprompt.health.checks import installation
from tests.checks import found


def test_the_projects_own_settings_are_fine(settings):
    assert found(installation.operator_hosts) == {}


def test_operator_hosts_that_are_not_served(settings):
    settings.DEBUG = False
    settings.ALLOWED_HOSTS = [".example.org"]
    assert list(found(installation.operator_hosts)) == ["fleetprompt.W002"]
    settings.OPERATOR_HOSTS = ["127.0.0.1", "ops.example.org"]
    assert found(installation.operator_hosts) == {}
    settings.OPERATOR_HOSTS = []
    assert "which is empty" in found(installation.operator_hosts)["fleetprompt.W002"].msg


def test_a_development_installation_is_said_to_be_one(settings):
    settings.DEBUG = True
    assert list(found(installation.debug)) == ["fleetprompt.I001"]
    settings.DEBUG = False
    assert found(installation.debug) == {}


def test_static_files_that_were_not_collected(settings, tmp_path):
    settings.DEBUG = False
    settings.STATIC_ROOT = tmp_path / "static"
    assert list(found(installation.static_files)) == ["fleetprompt.W003"]
    settings.STATIC_ROOT.mkdir()
    assert list(found(installation.static_files)) == ["fleetprompt.W003"]
    (settings.STATIC_ROOT / "admin.css").touch()
    assert found(installation.static_files) == {}
