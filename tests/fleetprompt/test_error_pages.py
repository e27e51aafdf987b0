"""Error pages of refused, missing and broken pages, also with DEBUG off."""

import threading

import pytest
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.template.loader import render_to_string
from django.test import Client, RequestFactory
from django.views.defaults import permission_denied

from fleetprompt.tenants.provisioning import create_tenant, delete_tenant
from tests.accounts import logged_in, make_user
from tests.checks import altered

# Django turns DEBUG off in tests.


@pytest.mark.parametrize("host", ["localhost", "alpha.localhost", "nobody.localhost"])
def test_a_missing_page_leads_back(database, host):
    answer = Client().get("/nowhere/<b>x</b>/", headers={"host": host})
    assert answer.status_code == 404
    page = answer.content.decode()
    assert "There is no such page here" in page
    assert 'href="/admin/"' in page
    assert "<b>x</b>" not in page


def test_a_refused_page_says_who_is_refused(database):
    client = logged_in("alpha", make_user("alpha", "una"))
    answer = client.get("/admin/auth/user/", headers={"host": "alpha.localhost"})
    assert answer.status_code == 403
    page = answer.content.decode()
    assert "You are not allowed to do this" in page
    assert "You are logged in as una" in page


def test_a_refusal_names_the_permission_escaped(database):
    reason = (
        "actor: <b>una</b> may not request forum.post.hide; it needs directives.request_forum.post.hide"
    )
    page = permission_denied(RequestFactory().get("/"), PermissionDenied(reason)).content.decode()
    assert "it needs directives.request_forum.post.hide" in page
    assert "&lt;b&gt;una&lt;/b&gt;" in page


def test_an_address_with_a_nul_is_a_bad_request(database):
    for path in ("/threads/%00/", "/?page=%00", "/admin/auth/user/%00/change/"):
        answer = Client().get(path, headers={"host": "alpha.localhost"})
        assert answer.status_code == 400, path
        assert "cannot be understood" in answer.content.decode()


def test_a_form_without_its_token_is_not_accepted(database):
    answer = Client(enforce_csrf_checks=True).post(
        "/admin/login/", {"username": "x"}, headers={"host": "alpha.localhost"}
    )
    assert answer.status_code == 403
    assert "out of date" in answer.content.decode()


@pytest.mark.parametrize(
    ("path", "statement"),
    [("/", "forums_thread"), ("/admin/", "directives_directive"), ("/admin/forums/post/", "forums_post")],
)
def test_a_request_whose_tenant_is_deleted_meanwhile_finds_nothing(database, caplog, path, statement):
    create_tenant("harbor", name="Harbor", domain="harbor.localhost")
    client = logged_in("harbor", make_user("harbor", "ann", is_superuser=True))
    seen = []

    def delete_before(execute, sql, params, many, context):
        if not seen and statement in sql:
            seen.append(sql)
            delete_in_a_thread("harbor")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(delete_before):
        answer = client.get(path, headers={"host": "harbor.localhost"})
    assert seen
    assert answer.status_code == 404
    assert "There is no such page here" in answer.content.decode()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_table_that_is_missing_in_a_tenant_that_lives_is_an_error(database, caplog):
    client = Client(raise_request_exception=False)
    with altered(
        "ALTER TABLE org_beta.forums_thread RENAME TO away",
        "ALTER TABLE org_beta.away RENAME TO forums_thread",
    ):
        answer = client.get("/", headers={"host": "beta.localhost"})
    assert answer.status_code == 500
    assert "UndefinedTable" in caplog.text or "ProgrammingError" in caplog.text


def delete_in_a_thread(slug):
    """Delete a tenant as another process does: on a connection of its own."""

    def delete():
        try:
            delete_tenant(slug)
        finally:
            connection.close()

    thread = threading.Thread(target=delete)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()


def test_the_page_for_what_broke_needs_nothing():
    assert "Something went wrong on our side" in render_to_string("500.html")
