"""Sites by host name, in real requests."""

import pytest
from django.test import Client

from fleetprompt.tenants.context import in_tenant
from fleetprompt.tenants.models import Tenant
from fleetprompt.tenants.provisioning import create_tenant, delete_tenant
from tests.recipes import tenants
from tests.support import make_forum


@pytest.fixture
def client(database):
    return Client()


def test_a_tenants_host_serves_its_forum(client):
    with in_tenant("alpha"):
        make_forum()
    page = client.get("/", headers={"host": "alpha.localhost"})
    assert page.status_code == 200
    assert "Welcome" in page.content.decode()


def test_another_tenants_host_does_not_know_it(client):
    with in_tenant("alpha"):
        thread = make_forum().thread
    path = f"/threads/{thread.pk}/"
    assert client.get(path, headers={"host": "alpha.localhost"}).status_code == 200
    assert client.get(path, headers={"host": "beta.localhost"}).status_code == 404
    assert "Welcome" not in client.get("/", headers={"host": "beta.localhost"}).content.decode()


@pytest.mark.parametrize("host", ["ALPHA.localhost", "alpha.localhost:8000", "alpha.localhost"])
def test_case_and_port_of_a_host_do_not_matter(client, host):
    page = client.get("/", headers={"host": host})
    assert page.status_code == 200
    assert "Alpha" in page.content.decode()


@pytest.mark.parametrize("host", ["gamma.localhost", "org_alpha.localhost", "public.localhost"])
def test_an_unknown_host_is_not_found(client, host):
    assert client.get("/", headers={"host": host}).status_code == 404


def test_a_tenants_host_that_is_not_allowed_is_not_found(client):
    create_tenant("harbor", name="Harbor", domain="harbor.example.org")
    assert client.get("/", headers={"host": "harbor.example.org"}).status_code == 404


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_the_public_hosts_serve_the_operators(client, host):
    assert "operators" in client.get("/", headers={"host": host}).content.decode()
    assert client.get("/healthz", headers={"host": host}).status_code == 200


def test_the_operators_pages_are_not_on_a_tenants_host(client):
    assert client.get("/healthz", headers={"host": "alpha.localhost"}).status_code == 404


def test_a_tenants_pages_are_not_on_the_operators_host(client):
    with in_tenant("alpha"):
        thread = make_forum().thread
    assert client.get(f"/threads/{thread.pk}/", headers={"host": "localhost"}).status_code == 404


def test_a_suspended_tenant_is_not_found_until_it_is_active_again(client):
    tenant = create_tenant("harbor", name="Harbor", domain="harbor.localhost")
    for status, expected in (("suspended", 404), ("active", 200)):
        Tenant.objects.filter(pk=tenant.pk).update(status=status)
        assert client.get("/", headers={"host": "harbor.localhost"}).status_code == expected


def test_every_domain_of_a_tenant_serves_it(client):
    harbor = create_tenant("harbor", name="Harbor", domain="harbor.localhost")
    tenants.domain.make(tenant=harbor, domain="old-harbor.localhost")
    assert client.get("/", headers={"host": "old-harbor.localhost"}).status_code == 200


def test_a_deleted_tenants_host_is_not_found(client):
    create_tenant("harbor", name="Harbor", domain="harbor.localhost")
    delete_tenant("harbor")
    assert client.get("/", headers={"host": "harbor.localhost"}).status_code == 404


def test_one_cookie_jar_on_two_hosts_mixes_nothing(client):
    for slug in ("alpha", "beta", "alpha"):
        page = client.get("/", headers={"host": f"{slug}.localhost"}).content.decode()
        assert slug.title() in page


@pytest.mark.parametrize("host", ["localhost", "alpha.localhost"])
def test_pages_only_read(client, host):
    assert client.post("/", headers={"host": host}).status_code == 405
