"""Migrations of many tenants: only where something is missing, and a failure stops no other."""

import io
import subprocess
import sys
from contextlib import contextmanager

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models.signals import post_migrate

from fleetprompt.tenants import plans
from fleetprompt.tenants.context import active_schema, in_tenant
from fleetprompt.tenants.models import Tenant
from fleetprompt.tenants.provisioning import create_tenant
from fleetprompt.tenants.template import TEMPLATE
from signals.storage import triggers
from tests.checks import altered
from tests.later import one_more_migration
from tests.later_data import __name__ as later_data
from tests.recipes import tenants
from tests.support import (
    environment,
    needs_two_roles,
    other_sessions,
    owner_cursor,
    somebody_waits,
    wait_until,
)

LATER = {"DJANGO_SETTINGS_MODULE": "tests.later_settings"}
NAME = "directives.9999_later"
IN_THE_WAY = "ALTER TABLE org_beta.directives_directive ADD COLUMN later integer"
OUT_OF_THE_WAY = "ALTER TABLE org_beta.directives_directive DROP COLUMN IF EXISTS later"


@pytest.fixture
def later(database):
    """One more migration, taken back after the test wherever it was applied.

    The template of tenants without it is put aside, so that the next test need not make it again.
    """
    create_tenant("harbor", name="Harbor", domain="harbor.localhost")
    with owner_cursor() as cursor:
        cursor.execute(f"ALTER SCHEMA {TEMPLATE} RENAME TO put_aside")
    with one_more_migration():
        yield
    with owner_cursor() as cursor:
        cursor.execute(f"DROP SCHEMA IF EXISTS {TEMPLATE} CASCADE")
        cursor.execute(f"ALTER SCHEMA put_aside RENAME TO {TEMPLATE}")
        for schema in ("public", "org_alpha", "org_beta"):
            cursor.execute(f"DELETE FROM {schema}.django_migrations WHERE name = '9999_later'")
            cursor.execute(
                f"ALTER TABLE IF EXISTS {schema}.directives_directive DROP COLUMN IF EXISTS later"
            )


def test_a_new_migration_comes_to_every_tenant(later):
    assert (
        _migrate() == "Tenants: 3 migrated, 0 given missing rights or permissions, 0 up to date, 0 failed."
    )
    assert _migrated() == {"alpha", "beta", "harbor"}
    assert active_schema() == "public"
    assert (
        _migrate() == "Tenants: 0 migrated, 0 given missing rights or permissions, 3 up to date, 0 failed."
    )


def test_a_failing_tenant_stops_no_other_and_the_next_run_goes_on_with_it(later):
    with owner_cursor() as cursor:
        cursor.execute(IN_THE_WAY)
    out = io.StringIO()
    with pytest.raises(CommandError, match="1 of 3 tenants failed") as failed:
        call_command("migrate_schemas", stdout=out)
    assert failed.value.returncode == 1
    [line] = [line for line in out.getvalue().splitlines() if line.startswith("beta")]
    assert line.split()[1] == NAME
    assert "already exists" in " ".join(out.getvalue().split())
    assert _migrated() == {"alpha", "harbor"}
    before = {schema: _versions(schema) for schema in ("org_alpha", "org_harbor")}
    with owner_cursor() as cursor:
        cursor.execute(OUT_OF_THE_WAY)
    assert _migrate().startswith("Tenants: 1 migrated, 0 given missing rights or permissions, 2 up to date")
    assert _migrated() == {"alpha", "beta", "harbor"}
    assert {schema: _versions(schema) for schema in before} == before


def test_a_process_that_is_killed_is_gone_on_with(later):
    with _held("org_beta"):
        process = _start()
        wait_until(somebody_waits, "beta is being migrated")
        process.kill()
        process.wait()
    wait_until(lambda: other_sessions() == 0, "the database has noticed")
    assert _migrated() == {"alpha"}
    assert _migrate().startswith("Tenants: 2 migrated, 0 given missing rights or permissions, 1 up to date")


def test_a_tenant_in_use_is_waited_for_so_long_and_no_longer(later, monkeypatch):
    monkeypatch.setattr(plans, "LOCK_TIMEOUT_MILLISECONDS", 200)
    with _held("org_beta"), pytest.raises(CommandError, match="1 of 3 tenants failed"):
        _migrate()
    assert _migrated() == {"alpha", "harbor"}


def test_two_runs_do_not_collide(later):
    with _held("org_beta"):
        first = _start()
        wait_until(somebody_waits, "beta is being migrated")
        second = _start()
        assert any("Another process is migrating" in line for line in second.stderr)
    assert (first.wait(60), second.wait(60)) == (0, 0)
    assert "3 migrated" in first.stdout.read()
    assert "3 up to date" in second.stdout.read()


def test_a_tenant_that_older_code_makes_meanwhile_is_migrated_too(later):
    with _held("org_beta"):
        process = _start()
        wait_until(somebody_waits, "beta is being migrated")
        # This process' own code has the migration; another process' code has not.
        create = ("tenant", "create", "older", "--name", "Older", "--domain", "older.localhost")
        done = subprocess.run(
            [sys.executable, "manage.py", *create], cwd=settings.BASE_DIR, env=environment()
        )
        assert done.returncode == 0
        assert "later" not in _columns("org_older")
    assert process.wait(60) == 0
    assert _migrated() == {"alpha", "beta", "harbor", "older"}


def test_a_tenant_without_its_schema_is_told_and_stops_no_other(later):
    tenants.ghost.make()
    out = io.StringIO()
    with pytest.raises(CommandError, match="1 of 4 tenants failed"):
        call_command("migrate_schemas", stdout=out)
    assert "\nghost" in out.getvalue()
    assert _migrated() == {"alpha", "beta", "harbor"}


def test_a_tenant_whose_history_makes_no_sense_is_told_and_stops_no_other(later):
    with altered(
        "UPDATE org_beta.django_migrations SET name = 'lost' WHERE app = 'auth' AND name = '0001_initial'",
        "UPDATE org_beta.django_migrations SET name = '0001_initial' WHERE name = 'lost'",
    ):
        out = io.StringIO()
        with pytest.raises(CommandError, match="1 of 3 tenants failed"):
            call_command("migrate_schemas", stdout=out)
    assert "\nbeta" in out.getvalue()
    assert "InconsistentMigrationHistory" in out.getvalue()
    assert _migrated() == {"alpha", "harbor"}


def test_one_tenant_alone(later):
    call_command("migrate_schemas", schema_name="org_beta", verbosity=0)
    assert _migrated() == {"beta"}
    with pytest.raises(CommandError, match="--schema: there is no schema 'org_nobody'"):
        call_command("migrate_schemas", schema_name="org_nobody")


def test_one_tenant_alone_by_its_slug(later):
    call_command("migrate_schemas", "--tenant", "beta", verbosity=0)
    assert _migrated() == {"beta"}
    call_command("migrate_schemas", "--tenant", verbosity=0)
    assert _migrated() == {"alpha", "beta", "harbor"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tenant", "nope"], "--tenant: there is no tenant 'nope'; see `tenant list`"),
        (["--tenant", "alfa"], "--tenant: there is no tenant 'alfa'; did you mean alpha?"),
        (["--tenant", "nope", "directives", "zero"], "--tenant: there is no tenant 'nope'; see"),
        (["--tenant", "directives", "zero"], "--tenant: there is no tenant 'directives'; see"),
        (["--tenant", "alpha", "--shared"], "--tenant: expected without --schema and --shared"),
        (["--executor", "subprocess"], "Error: argument --executor: invalid choice: 'subprocess'"),
        (["--schema", "org_nope"], "--schema: there is no schema 'org_nope'"),
        (["--schema", "information_schema"], "--schema: expected public, or a tenant's schema"),
        (["--schema", "pg_catalog"], "--schema: expected public, or a tenant's schema"),
        (["--schema", "org_nope", "directives", "zero"], "--schema: there is no schema 'org_nope'"),
    ],
)
def test_a_tenant_that_is_not_there_is_named(database, arguments, message):
    with pytest.raises(CommandError) as refused:
        call_command("migrate_schemas", *arguments, verbosity=0)
    assert str(refused.value).startswith(message)


def test_whether_something_is_missing_can_be_asked(later):
    with pytest.raises(SystemExit) as asked:
        call_command("migrate_schemas", check_unapplied=True, tenant=True)
    assert (asked.value.code, _migrated()) == (1, set())
    _migrate()
    with pytest.raises(SystemExit) as asked:
        call_command("migrate_schemas", check_unapplied=True, tenant=True)
    assert asked.value.code == 0


def test_a_migration_by_name_goes_through_all_tenants_as_before(later):
    _migrate()
    last = max(name for name in _names() if name != "9999_later")
    call_command("migrate_schemas", "directives", last, verbosity=0, stdout=io.StringIO())
    assert _migrated() == set()


def test_a_migration_that_goes_by_content_types_sees_each_tenants_own(later):
    with owner_cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("UPDATE org_harbor.django_content_type SET id = id + 1000")
        cursor.execute("UPDATE org_harbor.auth_permission SET content_type_id = content_type_id + 1000")
    with one_more_migration(later_data):
        assert "3 migrated" in _migrate()
    found = {}
    with owner_cursor() as cursor:
        for slug in ("alpha", "beta", "harbor"):
            cursor.execute(f"SELECT name FROM org_{slug}.auth_group WHERE name LIKE 'content type %%'", [])
            [(name,)] = cursor.fetchall()
            cursor.execute(
                f"SELECT 'content type ' || id FROM org_{slug}.django_content_type"
                " WHERE app_label = 'directives' AND model = 'directive'"
            )
            found[slug] = name == cursor.fetchone()[0]
            cursor.execute(f"DELETE FROM org_{slug}.auth_group WHERE name LIKE 'content type %%'", [])
    assert found == {"alpha": True, "beta": True, "harbor": True}


def test_what_follows_from_the_code_is_made_where_it_is_missing_only(later):
    _migrate()
    with in_tenant("beta"), connection.cursor() as cursor:
        cursor.execute("DELETE FROM auth_group_permissions")
        cursor.execute("DELETE FROM auth_permission WHERE codename = 'rerun_forum.post.hide'")
    before = {schema: _versions(schema) for schema in ("org_alpha", "org_harbor")}
    with _watched() as seen:
        assert "0 migrated, 1 given missing rights or permissions, 2 up to date" in _migrate()
    assert seen == {"public", "org_beta"}
    assert {schema: _versions(schema) for schema in before} == before
    with _watched() as seen:
        assert "0 given missing rights or permissions, 3 up to date" in _migrate()
    assert seen == {"public"}


@needs_two_roles
def test_a_right_that_is_missing_is_given_back_where_it_is_missing(later):
    _migrate()
    with owner_cursor() as cursor:
        cursor.execute(f"REVOKE INSERT ON org_beta.forums_post FROM {connection.settings_dict['USER']}")
    with _watched() as seen:
        assert "1 given missing rights" in _migrate()
    assert seen == {"public", "org_beta"}
    with connection.cursor() as cursor:
        cursor.execute("SELECT has_table_privilege('org_beta.forums_post', 'INSERT')")
        assert cursor.fetchone() == (True,)


def test_a_migrated_tenant_keeps_its_guards(later):
    _migrate()
    for slug in ("alpha", "harbor"):
        with owner_cursor() as cursor:
            cursor.execute(
                "SELECT relname, tgname FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid"
                " WHERE NOT tgisinternal AND relnamespace = %s::regnamespace",
                [f"org_{slug}"],
            )
            assert set(cursor.fetchall()) == {(made.table, made.name) for made in triggers.expected()}


@pytest.mark.parametrize("table", ["tenants_tenant", "django_q_schedule", "django_content_type"])
def test_where_the_record_says_more_than_there_is_the_missing_tables_are_named(database, table):
    with altered(
        f"ALTER TABLE public.{table} RENAME TO away", f"ALTER TABLE public.away RENAME TO {table}"
    ):
        with pytest.raises(CommandError, match=f"but some are missing: {table}\\.") as refused:
            call_command("migrate_schemas", verbosity=0)
        assert "migrate_schemas" not in str(refused.value)
        assert "Restore them from a backup" in str(refused.value)
    call_command("migrate_schemas", verbosity=0)


def _migrate():
    out = io.StringIO()
    call_command("migrate_schemas", stdout=out)
    return out.getvalue().splitlines()[-1]


def _start():
    return subprocess.Popen(
        [sys.executable, "manage.py", "migrate_schemas"],
        cwd=settings.BASE_DIR,
        env=environment(**LATER),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def _held(schema):
    """Hold a lock on a tenant's directives for a block."""
    with owner_cursor() as cursor:
        cursor.execute(f"BEGIN; LOCK TABLE {schema}.directives_directive IN ACCESS SHARE MODE")
        try:
            yield
        finally:
            cursor.execute("ROLLBACK")


@contextmanager
def _watched():
    """Give the schemas in which `post_migrate` is sent during a block."""
    seen = set()

    def note(**kwargs):
        seen.add(active_schema())

    post_migrate.connect(note)
    try:
        yield seen
    finally:
        post_migrate.disconnect(note)


def _migrated():
    """Return the slugs of the tenants that have the new column, and the migration on record."""
    slugs = Tenant.objects.exclude(slug="ghost").values_list("slug", flat=True)
    found = {slug for slug in slugs if _columns(f"org_{slug}") >= {"later"}}
    with owner_cursor() as cursor:
        for slug in slugs:
            cursor.execute(f"SELECT count(*) FROM org_{slug}.django_migrations WHERE name = '9999_later'")
            assert (cursor.fetchone()[0] == 1) == (slug in found)
    return found


def _columns(schema):
    with owner_cursor() as cursor:
        cursor.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND NOT attisdropped"
            " AND atttypid <> 'integer'::regtype",
            [f"{schema}.directives_directive"],
        )
        return {name for (name,) in cursor.fetchall()}


def _versions(schema):
    """Return which transactions wrote the rows that migrating writes, and the rights on tables."""
    with owner_cursor() as cursor:
        cursor.execute(
            f"SELECT xmin::text FROM {schema}.django_migrations"
            f" UNION ALL SELECT xmin::text FROM {schema}.auth_permission"
            f" UNION ALL SELECT xmin::text FROM {schema}.auth_group_permissions"
            " UNION ALL SELECT xmin::text || relname FROM pg_class WHERE relkind IN ('r', 'S')"
            f" AND relnamespace = '{schema}'::regnamespace"
        )
        return sorted(cursor.fetchall())


def _names():
    with owner_cursor() as cursor:
        cursor.execute("SELECT name FROM org_alpha.django_migrations WHERE app = 'directives'")
        return {name for (name,) in cursor.fetchall()}
