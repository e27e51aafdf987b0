"""Settings from the environment: accepted and refused values, in real processes and in this one."""

import re

import pytest
from django.core.exceptions import ImproperlyConfigured

from fleetprompt import environment

GOOD_KEY = "k" * 50
PRODUCTION = {"DEBUG": "0", "SECRET_KEY": GOOD_KEY, "ALLOWED_HOSTS": "forum.example.org"}


@pytest.fixture
def set_only(monkeypatch):
    """A function that sets these variables here, and no others of the project's."""

    def set_only(**variables):
        monkeypatch.setitem(environment.Environment.model_config, "env_file", None)
        for name in (*environment.Environment.model_fields, *environment.RENAMED):
            monkeypatch.delenv(name.upper(), raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_only


@pytest.fixture
def refusal(set_only):
    """A function that reads these variables and no others here, and returns why they are refused."""

    def read(**variables):
        set_only(**variables)
        with pytest.raises(ImproperlyConfigured) as refused:
            environment.read()
        assert "\n" not in str(refused.value)
        return str(refused.value)

    return read


def test_nothing_has_to_be_set_for_development(checkout):
    done = checkout.manage("check")
    assert (done.returncode, done.stderr) == (0, "")


def test_production_starts_with_a_key_and_hosts_of_its_own(checkout):
    done = checkout.manage("check", **PRODUCTION)
    assert (done.returncode, done.stderr) == (0, "")


def test_former_keys_are_given_beside_the_secret_key(checkout):
    printed = "from django.conf import settings; print(settings.SECRET_KEY_FALLBACKS)"
    done = checkout.manage("shell", "-v", "0", "-c", printed, SECRET_KEY_FALLBACKS="one, two")
    assert done.stdout.strip() == "['one', 'two']"


@pytest.mark.parametrize(
    ("missing", "name"),
    [("SECRET_KEY", "SECRET_KEY: the development key is refused"), ("ALLOWED_HOSTS", "ALLOWED_HOSTS: ")],
)
def test_without_debug_it_refuses_to_start_on_development_values(refusal, missing, name):
    assert name in refusal(**{key: value for key, value in PRODUCTION.items() if key != missing})


def test_without_debug_the_development_key_is_refused_when_it_is_set_on_purpose(refusal):
    key = environment.DEVELOPMENT_SECRET_KEY
    assert "SECRET_KEY: " in refusal(**{**PRODUCTION, "SECRET_KEY": key})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEBUG", "maybe"),
        ("SECRET_KEY", "short"),
        ("DATABASE_URL", "mysql://localhost/forum"),
        ("DATABASE_URL", "postgresql://user:pa/ss@host:port/forum"),
        ("BROKER_URL", "amqp://localhost"),
        ("CLUSTER_NAME", "one:two"),
        ("CLUSTER_NAME", "x" * 41),
        ("CLUSTER_WORKERS", "0"),
        ("CLUSTER_WORKERS", "two"),
        ("DIRECTIVES_CLAIM_LIMIT", "-1"),
        ("DIRECTIVES_LEASE_SECONDS", "0"),
        ("DIRECTIVES_LEASE_SECONDS", "inf"),
        ("DIRECTIVES_TIME_SLICE_SECONDS", "nan"),
        ("AUDIT_KEY", "secret/ss"),
        ("AUDIT_KEY", "c2hvcnQ="),
        ("TIME_ZONE", "Mars/Olympus"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
        ("METRICS_TOKEN", "too short"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318"),
    ],
)
def test_a_bad_value_is_refused_in_one_line_that_names_the_variable(refusal, name, value):
    said = refusal(**{name: value})
    assert f"{name}: " in said
    assert "pa/ss" not in said
    assert "secret/ss" not in said


def test_all_bad_values_are_named_at_once_by_a_process(checkout):
    done = checkout.manage("check", DEBUG="maybe", LOG_LEVEL="loud")
    assert_refused(done, "DEBUG: ", "LOG_LEVEL: ")


def test_the_environment_goes_before_the_env_file(new_checkout):
    checkout = new_checkout()
    (checkout.folder / ".env").write_text("LOG_LEVEL=loud\n")
    assert_refused(checkout.manage("check"), "LOG_LEVEL: ")
    assert checkout.manage("check", LOG_LEVEL="info").returncode == 0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("DIRECTIVES_BATCH", "DIRECTIVES_CLAIM_LIMIT"),
        ("DIRECTIVES_LEASE", "DIRECTIVES_LEASE_SECONDS"),
        ("DIRECTIVES_TURN", "DIRECTIVES_TIME_SLICE_SECONDS"),
        ("PUBLIC_HOSTS", "OPERATOR_HOSTS"),
        ("TRUSTED_PROXIES", "TRUSTED_PROXY_COUNT"),
    ],
)
def test_an_old_name_is_refused_with_the_new_one(refusal, set_only, old, new):
    assert f"{old}: renamed to {new}" in refusal(**{old: "1"})
    set_only(**{new: "1"})
    environment.read()


def test_old_names_are_refused_in_the_env_file_and_in_settings_too(new_checkout):
    checkout = new_checkout()
    (checkout.folder / ".env").write_text("directives_lease=5\n")
    assert_refused(checkout.manage("check"), "DIRECTIVES_LEASE: renamed to DIRECTIVES_LEASE_SECONDS")
    (checkout.folder / ".env").unlink()
    own = "from fleetprompt.settings import *\nDIRECTIVES_TURN = 0.1\n"
    (checkout.folder / "own_settings.py").write_text(own)
    done = checkout.manage("check", DJANGO_SETTINGS_MODULE="own_settings")
    assert_refused(done, "DIRECTIVES_TURN: renamed to DIRECTIVES_TIME_SLICE_SECONDS")


@pytest.mark.parametrize(
    ("owner", "expected"),
    [
        ("mysql://localhost/forum", "starts with postgresql://"),
        ("postgresql://boss:secret@localhost/other", "the database that DATABASE_URL names"),
        ("postgresql://app:word@localhost/forum", "not that of DATABASE_URL"),
        ("postgresql://localhost/forum", "expected a user"),
    ],
)
def test_the_owner_is_another_user_of_the_same_database(refusal, owner, expected):
    url = "postgresql://app:word@localhost/forum"
    said = refusal(DATABASE_URL=url, DATABASE_OWNER_URL=owner)
    assert "DATABASE_OWNER_URL: " in said
    assert expected in said
    assert not {"word", "secret"} & set(re.findall(r"\w+", said))


def test_the_embedded_server_has_an_owner_already(refusal):
    said = refusal(DATABASE_OWNER_URL="postgresql://boss@localhost/forum")
    assert "DATABASE_OWNER_URL: " in said
    assert "expected DATABASE_URL too" in said


@pytest.mark.parametrize("command", [("check",), ("--help",), ("directive", "--help")])
def test_what_needs_no_database_starts_none(checkout, command):
    assert checkout.manage(*command).returncode == 0
    assert not checkout.var.exists()


def assert_refused(done, *names):
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    for name in names:
        assert name in done.stderr
