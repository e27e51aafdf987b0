"""The context manager of a tenant: refused names, and the way back to the public schema."""

import threading

import pytest
from django.db import DatabaseError, connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleetprompt.tenants.context import (
    NoActiveTenant,
    TenantError,
    UnknownTenant,
    active_schema,
    active_tenant,
    in_tenant,
    is_public,
)
from fleetprompt.tenants.models import Tenant
from fleetprompt.tenants.provisioning import create_tenant, delete_tenant
from forums.models import Category
from tests.support import TENANTS


@pytest.mark.parametrize("name", ["alpha", "org_alpha"])
def test_a_tenant_is_entered_by_slug_or_schema(database, name):
    with in_tenant(name) as tenant:
        assert (tenant.slug, active_schema()) == ("alpha", "org_alpha")
        assert active_tenant() == tenant
        assert _search_path() == "org_alpha"
    assert is_public()
    assert _search_path() == "public"


@pytest.mark.parametrize(
    "name", ["", "gamma", "public", "org_", "ALPHA", "alpha ", "pg_catalog", "org_gamma", 'alpha"; --']
)
def test_what_is_no_tenant_is_refused(database, name):
    with pytest.raises(UnknownTenant, match="tenant: there is no tenant"), in_tenant(name):
        pytest.fail("entered")
    assert is_public()


def test_a_deleted_tenant_is_refused(database):
    create_tenant("harbor", name="Harbor", domain="harbor.localhost")
    delete_tenant("harbor")
    with pytest.raises(UnknownTenant, match="'harbor'"), in_tenant("harbor"):
        pytest.fail("entered")


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_public_is_active_again_after_an_exception(database, error):
    with pytest.raises(error), in_tenant("alpha"):
        raise error
    assert is_public()
    assert _search_path() == "public"


def test_public_is_active_again_after_the_database_refused_something(database):
    with pytest.raises(DatabaseError), in_tenant("alpha"), connection.cursor() as cursor:
        cursor.execute("SELECT 1 / 0")
    assert Tenant.objects.filter(slug="alpha").exists()


def test_public_is_active_again_when_the_block_went_elsewhere(database):
    with in_tenant("alpha"):
        connection.set_schema("org_beta")
    assert is_public()


@pytest.mark.parametrize("name", ["alpha", "org_alpha"])
def test_the_same_tenant_inside_itself_changes_nothing(database, name):
    with in_tenant("alpha") as outer:
        with in_tenant(name) as inner:
            assert inner == outer
        assert active_schema() == "org_alpha"
        with pytest.raises(ValueError, match="inside"), in_tenant(name):
            raise ValueError("inside")
        assert active_schema() == "org_alpha"
    assert is_public()


@pytest.mark.parametrize("name", ["beta", "org_beta", "gamma"])
def test_another_tenant_cannot_be_entered_from_inside_one(database, name):
    with in_tenant("alpha"):
        refused = pytest.raises(TenantError, match="cannot be entered from inside tenant 'alpha'")
        with refused, in_tenant(name):
            pytest.fail("entered")
        assert active_schema() == "org_alpha"


def test_no_tenant_is_active_outside(database):
    with pytest.raises(NoActiveTenant, match="in_tenant"):
        active_tenant()


def test_a_bare_schema_name_set_by_another_tool_is_the_tenant_too(database):
    connection.set_schema("org_beta")
    try:
        assert active_tenant().slug == "beta"
    finally:
        connection.set_schema_to_public()


def test_rows_go_to_the_tenant_that_is_active(database):
    for slug in TENANTS:
        with in_tenant(slug):
            Category.objects.create(slug=slug, name=slug)
    for slug in TENANTS:
        with in_tenant(slug):
            assert list(Category.objects.values_list("slug", flat=True)) == [slug]


def test_threads_do_not_disturb_each_other(database):
    inside = threading.Event()
    seen = []

    def enter_beta():
        with in_tenant("beta"):
            seen.append(active_schema())
            inside.set()
        connection.close()

    with in_tenant("alpha"):
        thread = threading.Thread(target=enter_beta)
        thread.start()
        assert inside.wait(10)
        seen.append(active_schema())
        thread.join()
    assert seen == ["org_beta", "org_alpha"]


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from([*TENANTS, "org_alpha", "org_beta", "gamma"]), st.booleans())))
def test_any_nesting_ends_where_it_began(database, steps):
    def go(rest, inside):
        if not rest:
            return
        (name, fails), *rest = rest
        slug = name.removeprefix("org_")
        may_enter = slug in TENANTS and inside in (None, slug)
        try:
            with in_tenant(name):
                assert may_enter
                assert active_schema() == f"org_{slug}"
                go(rest, slug)
                if fails:
                    raise ArithmeticError
        except ArithmeticError:
            assert fails
        except TenantError:
            assert not may_enter
        assert active_schema() == (f"org_{inside}" if inside else "public")

    go(steps, None)
    assert is_public()


def _search_path():
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_schema()")
        return cursor.fetchone()[0]
