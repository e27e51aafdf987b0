"""Security headers, refused requests, and sessions that a log-in renews."""

import logging
import re

import pytest
from django.contrib.staticfiles.views import serve
from django.core.exceptions import SuspiciousFileOperation
from django.http import Http404
from django.test import Client, RequestFactory, override_settings
from django.urls import URLPattern, URLResolver, get_resolver

from signals.audit.sealing import keys
from tests.accounts import PASSWORD, host_of, logged_in, make_user
from tests.admin import AdminClient, client_of
from tests.support import make_forum  # noqa: F401

SITES = {"alpha": "fleetprompt.urls", "": "fleetprompt.urls_public"}
PRODUCTION = {
    "DEBUG": "0",
    "SECRET_KEY": "k7#" + "pQ4z!x" * 12,
    "ALLOWED_HOSTS": ".example.org",
    "OPERATOR_HOSTS": "operators.example.org",
    "AUDIT_KEY": keys.generate(),
}
HTTPS = {
    "SECURE_SSL_REDIRECT": True,
    "SECURE_HSTS_SECONDS": 60,
    "SESSION_COOKIE_SECURE": True,
    "CSRF_COOKIE_SECURE": True,
}


@pytest.fixture
def alpha_client(database):
    return Client(headers={"host": "alpha.localhost"})


def policy(answer):
    """Return the content security policy of an answer, by directive."""
    parts = answer.headers["Content-Security-Policy"].split("; ")
    return {name: values for name, _, values in (part.partition(" ") for part in parts)}


def test_djangos_own_deployment_checks_find_nothing_in_production(checkout):
    assert checkout.manage("collectstatic", "--no-input", **PRODUCTION).returncode == 0
    done = checkout.manage("check", "--deploy", "--fail-level", "WARNING", **PRODUCTION)
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout


def test_djangos_own_deployment_checks_complain_without_https(checkout):
    done = checkout.manage("check", "--deploy", "--fail-level", "WARNING", HTTPS="0", **PRODUCTION)
    assert done.returncode == 1
    assert "SECURE_SSL_REDIRECT" in done.stderr


@pytest.mark.parametrize("host", ["alpha.localhost", "localhost", "nobody.localhost", "evil.example"])
@pytest.mark.parametrize("path", ["/", "/admin/login/", "/nowhere/", "/?%00"])
def test_every_answer_asks_the_browser_for_restraint(database, host, path):
    assert_restraint(Client().get(path, headers={"host": host}))


@override_settings(**HTTPS)
def test_a_redirect_to_https_asks_for_restraint_too(database):
    answer = Client().get("/", headers={"host": "alpha.localhost"})
    assert answer.status_code == 301
    assert_restraint(answer)


def assert_restraint(answer):
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "camera=()" in answer.headers["Permissions-Policy"]
    assert policy(answer)["frame-ancestors"] == "'none'"
    assert policy(answer)["default-src"] == "'none'"


def test_scripts_run_in_the_admin_only_and_there_only_from_files(alpha_client):
    assert "script-src" not in policy(alpha_client.get("/"))
    user = make_user("alpha", "una")
    inside = logged_in("alpha", user).get("/admin/", headers={"host": "alpha.localhost"})
    for answer in (alpha_client.get("/admin/login/"), inside):
        assert answer.status_code == 200
        assert policy(answer)["script-src"] == "'self' 'unsafe-eval'"
        assert not re.search(r"<script(?![^>]*\bsrc=)", answer.content.decode())


@override_settings(**HTTPS)
def test_plain_http_is_sent_to_https_except_for_the_health_check(database):
    for host in ("alpha.localhost", "localhost"):
        answer = Client().get("/admin/?q=1", headers={"host": host})
        assert (answer.status_code, answer.url) == (301, f"https://{host}/admin/?q=1")
        assert Client().get("/", headers={"host": host}, secure=True).headers[
            "Strict-Transport-Security"
        ] == ("max-age=60")
    assert Client().get("/healthz", headers={"host": "localhost"}).status_code == 200
    assert Client().get("/", headers={"host": "evil.example"}).status_code in (400, 404)


@pytest.mark.parametrize(("trusted", "expected"), [(0, 301), (1, 200)])
def test_a_proxys_word_for_https_counts_only_when_it_is_trusted(database, trusted, expected):
    header = ("HTTP_X_FORWARDED_PROTO", "https") if trusted else None
    with override_settings(**HTTPS, SECURE_PROXY_SSL_HEADER=header):
        answer = Client().get("/", headers={"host": "alpha.localhost", "x-forwarded-proto": "https"})
    assert answer.status_code == expected


@pytest.mark.parametrize("site", SITES)
@override_settings(**HTTPS)
def test_cookies_are_kept_from_scripts_other_sites_and_other_hosts(database, site):
    user = make_user(site, "una")
    client = Client(headers={"host": host_of(site)})
    answer = client.post("/admin/login/", {"username": user.username, "password": PASSWORD}, secure=True)
    assert answer.status_code == 302
    assert {"sessionid", "csrftoken"} <= answer.cookies.keys()
    for name in ("sessionid", "csrftoken"):
        cookie = answer.cookies[name]
        assert (cookie["secure"], cookie["httponly"], cookie["samesite"]) == (True, True, "Lax")
        assert (cookie["domain"], cookie["path"]) == ("", "/")
    assert 0 < int(answer.cookies["sessionid"]["max-age"]) <= 12 * 3600


def test_a_log_in_renews_a_session_that_another_person_may_know(database):
    make_user("alpha", "una")
    client = AdminClient()
    planted = "a" * 32
    client.cookies["sessionid"] = planted
    answer = client.post("/admin/login/", {"username": "una", "password": PASSWORD})
    first = answer.cookies["sessionid"].value
    assert first != planted
    other = AdminClient()
    other.cookies["sessionid"] = planted
    assert other.get("/admin/").status_code == 302
    client.post("/admin/logout/")
    again = client.post("/admin/login/", {"username": "una", "password": PASSWORD})
    assert again.cookies["sessionid"].value != first


def test_a_log_out_needs_a_form_and_ends_the_session(database):
    client = client_of("una")
    session = client.cookies["sessionid"].value
    assert client.get("/admin/logout/").status_code == 405
    assert client.get("/admin/").status_code == 200
    client.post("/admin/logout/")
    client.cookies["sessionid"] = session
    assert client.get("/admin/").status_code == 302


NEXT = [
    "https://evil.example/",
    "//evil.example",
    "///evil.example",
    r"\\evil.example",
    "/\\evil.example",
    "http:evil.example",
    "javascript:alert(1)",
    "\thttps://evil.example",
    "https://alpha.localhost@evil.example/",
    "http://beta.localhost/admin/",
]


@pytest.mark.parametrize("target", NEXT)
def test_a_log_in_leads_nowhere_else(database, target):
    make_user("alpha", "una")
    client = AdminClient()
    fields = {"username": "una", "password": PASSWORD, "next": target}
    answer = client.post("/admin/login/", fields)
    assert (answer.status_code, answer.url) == (302, "/admin/")
    assert client.post("/admin/logout/", {"next": target}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "alpha.localhost.evil.example",
        "alpha.localhost@evil.example",
        "alpha.localhost:80:80",
        "alpha localhost",
        "alpha.localhost/",
        "[::1",
        "alpha.localhost:port",
        "<script>",
        "",
        "\u0430lpha.localhost",
    ],
)
def test_a_host_that_is_not_ours_gets_nothing(database, host, caplog):
    with caplog.at_level(logging.ERROR):
        answer = Client().get("/admin/login/", headers={"host": host})
    assert answer.status_code in (400, 404)
    assert b"csrfmiddlewaretoken" not in answer.content
    assert "evil" not in answer.content.decode()
    assert not [record for record in caplog.records if record.name.startswith("fleetprompt")]


def test_what_a_proxy_says_about_the_host_is_not_believed(alpha_client):
    headers = {
        "x-forwarded-host": "beta.localhost",
        "forwarded": "host=beta.localhost",
        "x-host": "beta.localhost",
    }
    answer = alpha_client.get("/", headers=headers)
    assert "Alpha" in answer.content.decode()
    answer = alpha_client.get("/admin/", headers=headers)
    assert answer.url.startswith("/admin/login/")


def posting_routes(patterns, before=""):
    for pattern in patterns:
        route = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from posting_routes(pattern.url_patterns, route)
        elif isinstance(pattern, URLPattern) and "admin/" in route and "(" not in route:
            yield re.sub(r"<(\w+):\w+>", lambda kind: EXAMPLES[kind[1]], route)


EXAMPLES = {
    "path": "1", "uuid": "0198c0de-0000-7000-8000-000000000000", "str": "x", "int": "1", "slug": "x",
    "text": "1",
}  # fmt: skip


@pytest.mark.parametrize("site", SITES)
def test_every_form_needs_its_token(database, site):
    user = make_user(site, "rooty", is_superuser=True)
    client = logged_in(site, user)
    client.handler.enforce_csrf_checks = True
    found = list(posting_routes(get_resolver(SITES[site]).url_patterns))
    assert len(found) > 10
    for route in found:
        for headers in ({}, {"origin": "https://evil.example"}, {"referer": "https://evil.example/"}):
            answer = client.post(f"/{route}", {"post": "yes"}, headers={"host": host_of(site), **headers})
            assert answer.status_code == 403, route
            assert "This form is out of date" in answer.content.decode(), route


@pytest.mark.parametrize("method", ["TRACE", "PUT", "DELETE", "PATCH", "CONNECT", "PROPFIND", "get\u0000"])
def test_other_methods_do_nothing_and_repeat_nothing(database, method):
    client = client_of("una", superuser=True)
    for path in ("/", "/admin/logout/"):
        answer = client.generic(method, path, "x-secret", headers={"x-secret": "x-secret"})
        assert answer.status_code in (403, 405), path
        assert b"x-secret" not in answer.content
    assert client.get("/admin/").status_code == 200


@pytest.mark.parametrize(
    "path",
    ["../manage.py", "../../fleetprompt/settings.py", "/etc/passwd", "admin/../../manage.py",
     "..\\manage.py", "%2e%2e/manage.py", "fleetprompt/../../../manage.py"],
)  # fmt: skip
def test_static_files_are_those_and_no_others(path):
    with pytest.raises((Http404, SuspiciousFileOperation)):
        serve(RequestFactory().get("/"), path, insecure=True)


def test_passwords_that_are_easily_guessed_are_refused(database):
    client = client_of("ada", superuser=True)
    for password in ("short", "password1234", "123456789012", "una-una-una-una"):
        fields = {
            "username": "una-una-una",
            "password1": password,
            "password2": password,
            "usable_password": "true",
        }
        assert client.post("/admin/auth/user/add/", fields).status_code == 200, password
    fields |= {"password1": "correct horse battery", "password2": "correct horse battery"}
    assert client.post("/admin/auth/user/add/", fields).status_code == 302
