"""Addresses that commands tell people to open: with scheme and port, and help where a name is not found."""

import io
import shutil
import subprocess

import pytest
from django.conf import settings as project
from django.core.management import CommandError, call_command

from fleetprompt.cli.web_addresses import hosts_advice, installed
from fleetprompt.management.commands.serve import Command
from tests.accounts import PASSWORD, make_user

MAKE = shutil.which("make")


@pytest.mark.parametrize(
    ("debug", "https", "address"),
    [
        (True, False, "http://harbor.localhost:8123/admin/"),
        (False, True, "https://harbor.localhost/admin/"),
        (False, False, "http://harbor.localhost/admin/"),
    ],
)
def test_an_address_in_this_installation_has_scheme_and_port(settings, monkeypatch, debug, https, address):
    settings.DEBUG, settings.SECURE_SSL_REDIRECT = debug, https
    monkeypatch.setenv("PORT", "8123")
    assert installed("harbor.localhost", "/admin/") == address


def test_names_below_localhost_come_with_what_to_do_where_they_are_not_found():
    assert hosts_advice(["harbor.example.org"]) == ""
    advice = hosts_advice(["harbor.localhost", "harbor.example.org", "orchard.localhost"])
    assert advice.endswith("add a line to /etc/hosts: 127.0.0.1 harbor.localhost orchard.localhost")
    assert hosts_advice(f"{name}.localhost" for name in "abcdefg").endswith(" d.localhost e.localhost …")


def test_a_superuser_of_a_tenant_is_told_where_to_log_in(database, monkeypatch, settings):
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", PASSWORD)
    settings.DEBUG = True
    out = io.StringIO()
    call_command("tenant", "createsuperuser", "alpha", "--no-input", "--username", "ada", stdout=out)
    assert out.getvalue().endswith("Log in at http://alpha.localhost:8000/admin/\n")


def test_the_server_prints_its_addresses_and_what_is_missing(database, settings):
    assert _served(8123) == [
        "Operators: http://localhost:8123/admin/ (ready: http://localhost:8123/readyz; "
        "nobody can log in yet: `manage.py createsuperuser` makes a user)",
        "Alpha: http://alpha.localhost:8123/ (admin: http://alpha.localhost:8123/admin/)",
        "Beta: http://beta.localhost:8123/ (admin: http://beta.localhost:8123/admin/)",
        "If the browser does not find such a name, add a line to /etc/hosts: "
        "127.0.0.1 alpha.localhost beta.localhost",
        "Ctrl-C stops everything.",
    ]
    make_user("", is_superuser=True)
    assert _served(8123)[0].endswith("(ready: http://localhost:8123/readyz)")


@pytest.mark.parametrize("command", ["serve", "demo"])
@pytest.mark.parametrize(
    ("port", "message"),
    [
        ("0", "--port: expected a number from 1 to 65535; got 0"),
        ("x", "Error: argument --port: invalid int"),
    ],
)
def test_a_port_that_cannot_be_one_is_refused(monkeypatch, command, port, message):
    monkeypatch.setenv("PORT", port)
    with pytest.raises(CommandError) as refused:
        call_command(command)
    assert str(refused.value).startswith(message)


@pytest.mark.skipif(not MAKE, reason="make is not installed")
@pytest.mark.parametrize("target", ["demo", "run"])
def test_make_passes_the_port_on(target):
    assert '--port "8123"' in _recipe(target, "PORT=8123")


@pytest.mark.skipif(not MAKE, reason="make is not installed")
def test_make_lets_pip_print_errors_only():
    recipe = _recipe("setup", "--always-make")
    assert "pip install -qq --disable-pip-version-check" in recipe
    assert "2>" not in recipe[recipe.index("pip install") :]


def _served(port):
    out = io.StringIO()
    Command(stdout=out)._print_addresses(port)
    return out.getvalue().splitlines()


def _recipe(*arguments):
    """Return what `make` would run."""
    return subprocess.run(
        [MAKE, "--dry-run", *arguments], cwd=project.BASE_DIR, capture_output=True, text=True, check=True
    ).stdout
