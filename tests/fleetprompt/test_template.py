"""The template of new tenants: clones equal migrated schemas, after every change of the code."""

import io
import subprocess
import sys

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection, transaction

from directives.outcomes import Kind
from fleetprompt.postgres import cloning
from fleetprompt.postgres.owner import as_owner
from fleetprompt.tenants import plans
from fleetprompt.tenants.context import in_tenant
from fleetprompt.tenants.models import SCHEMA_PREFIX, Tenant
from fleetprompt.tenants.provisioning import create_tenant, delete_tenant
from fleetprompt.tenants.template import TEMPLATE
from signals.audit.sealing import sealer
from signals.audit.verifying import verification
from signals.storage import triggers
from tests import catalogue
from tests.checks import altered
from tests.later import one_more_migration
from tests.support import ask, environment, make_forum, needs_two_roles, owner_cursor, run

MIGRATED = "by_migrations"


@pytest.fixture
def migrated(database):
    """A schema that was migrated from nothing, as the template is."""
    with as_owner():
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE SCHEMA {MIGRATED}")
        plans.migrate(MIGRATED)
    yield MIGRATED
    with owner_cursor() as cursor:
        cursor.execute(f"DROP SCHEMA {MIGRATED} CASCADE")


def test_a_cloned_tenant_equals_a_migrated_one_object_by_object(migrated):
    harbor = _create()
    assert _when_migrated(harbor.schema_name) == _when_migrated(TEMPLATE) != _when_migrated(migrated)
    wanted, found = catalogue.described(migrated), catalogue.described(harbor.schema_name)
    for kind in wanted:
        assert found[kind] == wanted[kind], kind
    assert catalogue.rows(harbor.schema_name) == catalogue.rows(migrated)
    # Both could lack the same.
    with in_tenant("harbor"):
        assert {name for name, *_ in found["relations"]} >= set(
            connection.introspection.django_table_names()
        )
    assert {(table, sql.split()[2]) for table, sql, *_ in found["triggers"]} == {
        (trigger.table, trigger.name) for trigger in triggers.expected()
    }
    assert {"auth_permission", "auth_group_permissions", "django_migrations"} <= set(
        catalogue.rows(migrated)
    )


def test_a_cloned_tenant_lives_a_whole_life(database, monkeypatch):
    _create()
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "for this test only")
    call_command(
        "tenant", "createsuperuser", "harbor", "--no-input", "--username", "ann", stdout=io.StringIO()
    )
    with in_tenant("harbor"):
        assert User.objects.get().has_perm("directives.request_forum.post.hide")
        forum = make_forum()
        directive = ask("forum.post.hide", {"post_id": str(forum.posts[0].pk)}).directive
        assert run(directive).kind == Kind.SUCCEEDED
        sealer.seal()
        assert verification.verify().finding_count == 0
    delete_tenant("harbor")
    assert not Tenant.objects.filter(slug="harbor").exists()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_namespace WHERE nspname = 'org_harbor'")
        assert cursor.fetchone() == (0,)


def test_the_template_is_no_tenants(database):
    assert not TEMPLATE.startswith(SCHEMA_PREFIX)
    assert not Tenant.objects.filter(schema_name=TEMPLATE).exists()


@needs_two_roles
def test_the_application_has_no_rights_in_the_template(database):
    with connection.cursor() as cursor:
        cursor.execute("SELECT has_schema_privilege(%s, 'USAGE')", [TEMPLATE])
        assert cursor.fetchone() == (False,)
        cursor.execute(
            "SELECT count(*) FROM pg_class WHERE relnamespace = %s::regnamespace AND relkind = 'r'"
            " AND has_table_privilege(oid, 'SELECT, INSERT, UPDATE, DELETE, TRIGGER')",
            [TEMPLATE],
        )
        assert cursor.fetchone() == (0,)


def test_new_tenants_follow_the_code(database):
    with one_more_migration():
        _create("newer")
        assert "later" in _columns("org_newer")
    # A process with the older code makes tenants by its own migrations.
    _create("older")
    assert "later" not in _columns("org_older")


def test_new_tenants_have_what_the_code_wants_without_a_migration(database, monkeypatch):
    monkeypatch.setattr(
        "directives.authority.permissions.ACTIONS", ("request", "snooze", "cancel", "rerun", "praise")
    )
    _create()
    with in_tenant("harbor"):
        assert _has_permission("praise_forum.post.hide")
    monkeypatch.undo()
    _create("older")
    with in_tenant("older"):
        assert not _has_permission("praise_forum.post.hide")


@pytest.mark.parametrize("state", ["missing", "without its mark", "made for other code"])
def test_a_template_that_is_not_whole_is_made_anew(database, state):
    statement = {
        "missing": f"DROP SCHEMA {TEMPLATE} CASCADE",
        "without its mark": f"COMMENT ON SCHEMA {TEMPLATE} IS NULL; DROP TABLE {TEMPLATE}.forums_post",
        "made for other code": f"COMMENT ON SCHEMA {TEMPLATE} IS 'x'; DROP TABLE {TEMPLATE}.forums_post",
    }
    with owner_cursor() as cursor:
        cursor.execute(statement[state])
    _create()
    with in_tenant("harbor"):
        assert len(make_forum().posts) == 3


def test_migrating_makes_the_template_anew_as_well(database):
    with owner_cursor() as cursor:
        cursor.execute(f"COMMENT ON SCHEMA {TEMPLATE} IS NULL; DROP TABLE {TEMPLATE}.forums_post")
    call_command("migrate_schemas", verbosity=0)
    assert _columns(TEMPLATE)
    with owner_cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s)", [f"{TEMPLATE}.forums_post"])
        assert cursor.fetchone() != (None,)


def test_what_cannot_be_cloned_is_migrated(database, migrated):
    with altered(f"CREATE VIEW {TEMPLATE}.stranger AS SELECT 1", f"DROP VIEW {TEMPLATE}.stranger"):
        with as_owner():
            assert cloning.not_cloneable(TEMPLATE) == [f"view {TEMPLATE}.stranger"]
        harbor = _create()
    assert _when_migrated(harbor.schema_name) != _when_migrated(TEMPLATE)
    assert catalogue.described(harbor.schema_name) == catalogue.described(migrated)
    assert catalogue.rows(harbor.schema_name) == catalogue.rows(migrated)


@pytest.mark.long
def test_processes_that_come_at_once_share_one_template(database):
    with owner_cursor() as cursor:
        cursor.execute(f"DROP SCHEMA {TEMPLATE} CASCADE")
    slugs = ["bay", "cove", "dune"]
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                "manage.py",
                "tenant",
                "create",
                slug,
                "--name",
                slug,
                "--domain",
                f"{slug}.localhost",
            ],
            cwd=settings.BASE_DIR,
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for slug in slugs
    ]
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert errors == [""] * 3
    made = [catalogue.rows(f"org_{slug}") for slug in slugs]
    assert made[0] == made[1] == made[2] == catalogue.rows(TEMPLATE)


def test_a_refused_tenant_leaves_the_template_alone(database):
    before = _when_migrated(TEMPLATE)
    with pytest.raises(RuntimeError, match="inside a transaction"), transaction.atomic():
        _create()
    with pytest.raises(Exception, match="exists already"):
        create_tenant("alpha", name="Alpha", domain="other.localhost")
    assert _when_migrated(TEMPLATE) == before


def _create(slug="harbor"):
    return create_tenant(slug, name=slug.title(), domain=f"{slug}.localhost")


def _has_permission(codename):
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM auth_permission WHERE codename = %s", [codename])
        return cursor.fetchone() == (1,)


def _columns(schema):
    with owner_cursor() as cursor:
        cursor.execute(
            "SELECT column_name FROM information_schema.columns"
            " WHERE table_schema = %s AND table_name = 'directives_directive'",
            [schema],
        )
        return {name for (name,) in cursor.fetchall()}


def _when_migrated(schema):
    with owner_cursor() as cursor:
        cursor.execute(f"SELECT max(applied) FROM {schema}.django_migrations")
        return cursor.fetchone()[0]
