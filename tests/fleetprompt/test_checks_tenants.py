"""Checks of the tenants: hosts, schemas, tables and constraints."""

import pytest
from django.db import connection

from fleetprompt.health.checks import constraints, hosts, tables
from fleetprompt.tenants.models import Domain, Tenant
from tests.checks import altered, found, other_migration_name
from tests.recipes import tenants

CHECKS = [
    hosts.hosts,
    tables.schemas,
    tables.migrations,
    tables.missing_tables,
    tables.misplaced_tables,
    constraints.constraints,
    constraints.indexes,
    constraints.references,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.title)
def test_the_tests_own_tenants_are_fine(database, check):
    assert found(check) == {}


def test_hosts_that_are_not_served(database, settings):
    alpha, beta = Tenant.objects.order_by("slug")
    tenants.domain.make(tenant=alpha, domain="alpha.example.org")
    tenants.domain.make(tenant=alpha, domain="ops.localhost")
    settings.OPERATOR_HOSTS = ["ops.localhost"]
    Domain.objects.filter(tenant=beta).update(tenant=alpha)
    try:
        said = found(hosts.hosts)
    finally:
        Domain.objects.filter(domain="beta.localhost").update(tenant=beta)
        Domain.objects.filter(domain__in=["alpha.example.org", "ops.localhost"]).delete()
    assert {number: finding.obj for number, finding in said.items()} == {
        "tenants.W001": ("beta",),
        "tenants.W002": ("alpha",),
        "tenants.W003": ("alpha",),
    }
    assert said["tenants.W002"].msg.endswith(": alpha.example.org")


def test_a_schema_without_its_tenant_and_a_tenant_without_its_schema(database):
    with altered("ALTER SCHEMA org_beta RENAME TO org_stray", "ALTER SCHEMA org_stray RENAME TO org_beta"):
        said = found(tables.schemas)
        assert found(tables.migrations)["tenants.E011"].msg == "there are no tables"
    assert said["tenants.E010"].obj == ("beta",)
    assert "org_stray" in said["tenants.W010"].msg


def test_a_tenant_that_lacks_a_migration_is_told_once(database):
    with other_migration_name("org_alpha"):
        said = found(tables.migrations)["tenants.E011"]
        assert found(tables.migrations, tenants={"org_beta": "beta"}) == {}
    assert (said.obj, said.msg) == (("alpha",), "migrations are missing: sessions.0001_initial")


def test_a_table_that_is_gone_though_its_migration_is_recorded(database):
    with altered(
        "ALTER TABLE org_alpha.forums_post RENAME TO gone",
        "ALTER TABLE org_alpha.gone RENAME TO forums_post",
    ):
        said = found(tables.missing_tables)["tenants.E012"]
    assert said.obj == ("alpha",)
    assert said.msg.endswith("forums_post")


def test_tables_in_the_wrong_kind_of_schema(database):
    with altered("CREATE TABLE org_alpha.django_q_ormq (id int)", "DROP TABLE org_alpha.django_q_ormq"):
        said = found(tables.misplaced_tables)
        assert list(said) == ["tenants.E013"]
        assert said["tenants.E013"].obj == ("alpha",)
    with altered("CREATE TABLE public.signals_signal (id int)", "DROP TABLE public.signals_signal"):
        assert "signals_signal" in found(tables.misplaced_tables)["tenants.E014"].msg


@pytest.mark.parametrize(
    ("table", "name", "what"),
    [
        ("directives_directive", "directive_one_running", "directive_one_running"),
        ("directives_directive", "directive_key", "directive_key"),
        ("signals_signal", "signal_key", "signal_key"),
        ("auth_user", "auth_user_username_key", "auth_user (username)"),
        ("directives_directive", "directive_lease_while_running", "directive_lease_while_running"),
    ],
)
def test_constraints_that_safety_rests_on(database, table, name, what):
    with dropped("org_alpha", table, name):
        said = found(constraints.constraints)["tenants.E015"]
    assert said.obj == ("alpha",)
    assert said.msg == f"constraints are missing or not valid: {what}"
    assert found(constraints.constraints) == {}


def test_an_index_that_is_gone(database):
    with dropped("org_beta", "directives_directive", "directive_due"):
        said = found(constraints.indexes)["tenants.W011"]
    assert (said.obj, said.msg.rsplit(" ", 1)[1]) == (("beta",), "directive_due")


def test_a_foreign_key_into_another_schema(database):
    with altered(
        "ALTER TABLE org_alpha.forums_thread ADD CONSTRAINT astray"
        " FOREIGN KEY (category_id) REFERENCES org_beta.forums_category (id)",
        "ALTER TABLE org_alpha.forums_thread DROP CONSTRAINT astray",
    ):
        said = found(constraints.references)["tenants.E004"]
    assert "org_alpha.astray refers to the schema org_beta" in said.msg


def test_a_check_that_the_database_refuses_is_a_finding_and_no_traceback(database):
    with altered(
        "ALTER TABLE public.tenants_domain RENAME TO gone",
        "ALTER TABLE public.gone RENAME TO tenants_domain",
    ):
        said = found(hosts.hosts)["doctor.E002"]
    assert "tenants_domain" in said.msg
    assert found(hosts.hosts) == {}


def dropped(schema, table, name):
    """Drop a constraint or an index for a block."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE conname = %s AND connamespace = %s::regnamespace",
            [name, schema],
        )
        if row := cursor.fetchone():
            alter = f"ALTER TABLE {schema}.{table}"
            return altered(f"{alter} DROP CONSTRAINT {name}", f"{alter} ADD CONSTRAINT {name} {row[0]}")
        cursor.execute("SELECT pg_get_indexdef(%s::regclass)", [f"{schema}.{name}"])
        return altered(f"DROP INDEX {schema}.{name}", cursor.fetchone()[0])
