"""Creation and deletion of tenants: everything or nothing."""

import io
import json
import re
import signal
import subprocess
import sys

import pytest
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import connection
from django.http.request import split_domain_port
from django_tenants.utils import schema_exists
from hypothesis import given
from hypothesis import strategies as st

from fleetprompt.tenants.context import active_schema
from fleetprompt.tenants.models import RESERVED_SLUGS, SLUG_LENGTH, Domain, Tenant, validate_slug
from fleetprompt.tenants.provisioning import create_tenant, delete_tenant, normalised_domain
from fleetprompt.tenants.template import TEMPLATE
from tests.support import environment, manage, other_sessions, owner_cursor, somebody_waits, wait_until

CREATE = ("tenant", "create", "harbor", "--name", "Harbor", "--domain", "harbor.localhost")


@given(st.text(max_size=SLUG_LENGTH + 10) | st.text("ab01-_", max_size=SLUG_LENGTH + 10))
def test_a_slug_is_words_of_lower_case_letters_and_digits(slug):
    words = re.split("[-_]", slug)
    good = (
        len(slug) <= SLUG_LENGTH
        and all(word.isascii() and word.isalnum() and word == word.lower() for word in words)
        and slug not in RESERVED_SLUGS
        and not slug.startswith("org_")
    )
    try:
        validate_slug(slug)
        taken = True
    except ValidationError:
        taken = False
    assert taken == good


@pytest.mark.parametrize("slug", [*sorted(RESERVED_SLUGS), "org_harbor"])
def test_reserved_slugs_are_refused(slug):
    with pytest.raises(ValidationError, match="reserved"):
        validate_slug(slug)


@pytest.mark.parametrize(
    "slug", ["", "Harbor", "-harbor", "harbor--two", "har bor", "h" * 51, "häfen", "a\n"]
)
def test_slugs_that_could_not_name_a_schema_are_refused(slug):
    with pytest.raises(ValidationError, match="slug: expected"):
        validate_slug(slug)


def test_a_new_tenant_has_a_schema_tables_and_a_domain(database):
    tenant = create_tenant("harbor", name=" Harbor ", domain="Harbor.Localhost.")
    assert (tenant.schema_name, tenant.name, tenant.status) == ("org_harbor", "Harbor", "active")
    assert list(tenant.domains.values_list("domain", "is_primary")) == [("harbor.localhost", True)]
    assert _tables("org_harbor") >= {"forums_post", "directives_directive", "signals_signal", "auth_user"}
    assert "tenants_tenant" not in _tables("org_harbor")
    assert active_schema() == "public"


@pytest.mark.parametrize(
    ("slug", "name", "domain", "message"),
    [
        ("alpha", "Harbor", "harbor.localhost", "slug: a tenant 'alpha' exists already"),
        ("harbor", "Harbor", "ALPHA.localhost", "domain: 'alpha.localhost' belongs to the tenant 'alpha'"),
        ("public", "Harbor", "harbor.localhost", "slug: 'public' is reserved"),
        ("Harbor", "Harbor", "harbor.localhost", "slug: expected"),
        ("harbor", " ", "harbor.localhost", "name: "),
        ("harbor", "n" * 201, "harbor.localhost", "name: "),
        ("harbor", "Har\0bor", "harbor.localhost", "name: expected no control characters"),
        ("harbor", "Har\nbor", "harbor.localhost", "name: expected no control characters"),
        ("harbor", "Harbor", "", "domain: expected a host name"),
        ("harbor", "Harbor", "harbor.localhost:8000", "domain: expected a host name"),
        ("harbor", "Harbor", "http://harbor.localhost", "domain: expected a host name"),
        ("harbor", "Harbor", "*.localhost", "domain: expected a host name"),
    ],
)
def test_bad_input_is_refused_with_the_fields_name_and_changes_nothing(
    database, slug, name, domain, message
):
    before = _traces()
    with pytest.raises(CommandError, match=f"^{re.escape(message)}"):
        call_command("tenant", "create", slug, f"--name={name}", f"--domain={domain}")
    assert _traces() == before


@pytest.mark.parametrize(
    "domain",
    [
        *("a..b", "-", "xn--", ".a.org", "-a.org", "a-.org", "a.org-", "a_b.org", "a b.org", "a@b.org"),
        *(
            "[::1]",
            "192.0.2.44",
            "a.1",
            "a.0x10",
            "0x7f",
            "0x",
            "a.org\0",
            "a\n.org",
            "\u202ea.org",
            "xn--zzzzzz.org",
            ".",
        ),
        *("x" * 64 + ".org", ".".join(["a"] * 126) + ".org", "//a.org", "a.org/", "user@a.org:80"),
    ],
)
def test_what_no_browser_can_ask_for_is_no_domain(domain):
    with pytest.raises(ValidationError, match=r"^\[.domain: expected a host name without port or path"):
        normalised_domain(domain)


@pytest.mark.parametrize(
    ("domain", "stored"),
    [
        ("localhost", "localhost"),
        ("intranet", "intranet"),
        (" Harbor.Example.ORG. ", "harbor.example.org"),
        ("3com.example", "3com.example"),
        ("xn--hfen-loa.de", "xn--hfen-loa.de"),
        ("x" * 63 + ".org", "x" * 63 + ".org"),
        (".".join(["a"] * 127), ".".join(["a"] * 127)),
    ],
)
def test_a_domain_is_stored_as_browsers_ask_for_it(settings, domain, stored):
    settings.OPERATOR_HOSTS = []
    assert normalised_domain(domain) == stored


def test_a_domain_in_other_letters_is_refused_with_the_form_that_browsers_send():
    with pytest.raises(ValidationError, match=r"'häfen\.de'.*xn--hfen-loa\.de"):
        normalised_domain("Häfen.de")


@given(st.text(max_size=70) | st.text("ab1.-_x", max_size=20).map(lambda text: f"{text}.org"))
def test_whatever_passes_as_a_domain_is_one_that_django_serves(domain):
    try:
        stored = normalised_domain(domain)
    except ValidationError:
        return
    assert split_domain_port(stored) == (stored, "")
    assert normalised_domain(stored) == stored


def test_a_schema_without_a_tenant_is_left_alone(database):
    with owner_cursor() as cursor:
        cursor.execute("CREATE SCHEMA org_harbor")
    try:
        with pytest.raises(ValidationError, match="schema 'org_harbor' exists already"):
            create_tenant("harbor", name="Harbor", domain="harbor.localhost")
        assert schema_exists("org_harbor")
        assert not Tenant.objects.filter(slug="harbor").exists()
    finally:
        with owner_cursor() as cursor:
            cursor.execute("DROP SCHEMA org_harbor")


def test_an_error_while_tables_are_made_leaves_nothing_behind(database):
    before = _traces()
    with owner_cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION refuse_posts() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN"
            " IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands()"
            " WHERE object_identity = 'org_harbor.forums_post')"
            " THEN RAISE EXCEPTION 'no posts here'; END IF; END $$"
        )
        cursor.execute(
            "CREATE EVENT TRIGGER refuse_posts ON ddl_command_end EXECUTE FUNCTION refuse_posts()"
        )
    try:
        with pytest.raises(Exception, match="no posts here"):
            create_tenant("harbor", name="Harbor", domain="harbor.localhost")
    finally:
        with owner_cursor() as cursor:
            cursor.execute("DROP EVENT TRIGGER refuse_posts")
            cursor.execute("DROP FUNCTION refuse_posts")
    assert active_schema() == "public"
    assert _traces() == before
    assert create_tenant("harbor", name="Harbor", domain="harbor.localhost").pk


def test_a_process_killed_while_it_creates_a_tenant_leaves_nothing_behind(database):
    before = _traces()
    with owner_cursor() as cursor:
        # The process has made all tables, and waits for the rows of this one.
        cursor.execute(f"BEGIN; LOCK TABLE {TEMPLATE}.django_session IN ACCESS EXCLUSIVE MODE")
        process = subprocess.Popen(
            [sys.executable, "manage.py", *CREATE], cwd=settings.BASE_DIR, env=environment()
        )
        wait_until(somebody_waits, "the schema is half made", 20)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        cursor.execute("ROLLBACK")
    wait_until(lambda: other_sessions() == 0, "the database has noticed")
    assert _traces() == before
    assert manage(*CREATE).returncode == 0
    assert schema_exists("org_harbor")


def test_two_processes_that_create_one_tenant_make_one(database):
    processes = [
        subprocess.Popen(
            [sys.executable, "manage.py", *CREATE],
            cwd=settings.BASE_DIR,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert sorted(process.returncode for process in processes) == [0, 1]
    assert any("slug: a tenant 'harbor' exists already" in error for error in errors)


def test_deleting_removes_row_domains_and_schema(database):
    create_tenant("harbor", name="Harbor", domain="harbor.localhost")
    delete_tenant("harbor")
    assert not schema_exists("org_harbor")
    assert not Domain.objects.filter(domain="harbor.localhost").exists()
    with pytest.raises(ValidationError, match="slug: there is no tenant 'harbor'"):
        delete_tenant("harbor")
    with pytest.raises(CommandError, match="there is no tenant 'harbor'"):
        call_command("tenant", "delete", "harbor", "--yes")


@pytest.mark.parametrize(
    ("answer", "deleted"), [("harbor\n", True), ("yes\n", False), ("\n", False), ("", False)]
)
def test_the_command_deletes_only_after_the_slug_was_typed(database, monkeypatch, answer, deleted):
    create_tenant("harbor", name="Harbor", domain="harbor.localhost")
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    if deleted:
        call_command("tenant", "delete", "harbor", stdout=io.StringIO())
    else:
        with pytest.raises(CommandError, match=r"^Not deleted"):
            call_command("tenant", "delete", "harbor")
    assert schema_exists("org_harbor") is not deleted


def test_the_list_is_stable_json(database):
    out = io.StringIO()
    call_command("tenant", "list", "--format", "json", stdout=out)
    rows = json.loads(out.getvalue())
    assert [row["slug"] for row in rows] == ["alpha", "beta"]
    assert set(rows[0]) == {"slug", "name", "schema", "status", "domains", "created_at"}
    assert rows[0]["domains"] == ["alpha.localhost"]


def test_a_tenant_on_a_host_that_is_not_served_is_created_with_a_note(database):
    done = manage("tenant", "create", "harbor", "--name", "Harbor", "--domain", "harbor.example.org")
    assert done.returncode == 0
    assert "ALLOWED_HOSTS does not contain harbor.example.org" in done.stderr


def _tables(schema):
    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [schema])
        return {name for (name,) in cursor.fetchall()}


def _traces():
    """Return what tenants leave in the database: rows, domains and schemas."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'org%%'")
        schemas = {name for (name,) in cursor.fetchall()}
    return (
        set(Tenant.objects.values_list("slug", flat=True)),
        set(Domain.objects.values_list("domain", flat=True)),
        schemas,
    )
