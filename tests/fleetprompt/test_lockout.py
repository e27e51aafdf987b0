"""Lockout of a user name at an address after ten wrong passwords."""

import logging
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.test import RequestFactory, override_settings

from fleetprompt.web.client_ip import client_ip, described
from tests.accounts import PASSWORD, make_user
from tests.admin import AdminClient

LIMIT = settings.AXES_FAILURE_LIMIT


@pytest.fixture(autouse=True)
def _forget(database):
    cache.clear()
    yield
    cache.clear()


def attempt(site="alpha", username="una", password="", **extra):
    """Try to log in from a browser of its own; return the answer."""
    client = AdminClient(site)
    return client.post("/admin/login/", {"username": username, "password": password or "wrong"}, **extra)


def lock_out(site="alpha", **extra):
    answers = [attempt(site, **extra).status_code for _ in range(LIMIT)]
    assert answers == [200] * (LIMIT - 1) + [429]


@pytest.mark.parametrize("site", ["alpha", ""])
def test_after_ten_wrong_passwords_the_right_one_does_not_help_either(site, caplog):
    make_user(site)
    lock_out(site)
    with caplog.at_level(logging.WARNING):
        answer = attempt(site, password=PASSWORD)
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "900"
    assert "Too many wrong passwords" in answer.content.decode()
    assert "for the next 15 minutes" in answer.content.decode()
    assert "sessionid" not in answer.cookies
    assert "locked out on" in caplog.text
    assert PASSWORD not in caplog.text


def test_the_same_name_elsewhere_and_other_names_here_are_not_locked_out():
    for site in ("alpha", "beta", ""):
        make_user(site)
    make_user("alpha", "ulf")
    lock_out()
    assert attempt("beta", password=PASSWORD).status_code == 302
    assert attempt("", password=PASSWORD).status_code == 302
    assert attempt(username="ulf", password=PASSWORD).status_code == 302
    # Who guesses from elsewhere cannot lock out the person herself.
    assert attempt(password=PASSWORD, REMOTE_ADDR="192.0.2.7").status_code == 302
    assert attempt(password=PASSWORD).status_code == 429


def test_an_unknown_name_is_treated_alike():
    lock_out(username="nobody")


def test_it_is_forgotten_after_a_while_and_after_the_right_password():
    make_user("alpha")
    for _ in range(3):
        for _ in range(LIMIT - 1):
            assert attempt().status_code == 200
        assert attempt(password=PASSWORD).status_code == 302
    lock_out()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE public.fleetprompt_cache SET expires = expires - interval '15 minutes'")
    assert attempt(password=PASSWORD).status_code == 302


def test_asking_while_locked_out_does_not_lock_out_for_longer():
    make_user("alpha")
    lock_out()
    with connection.cursor() as cursor:
        cursor.execute("SELECT max(expires) FROM public.fleetprompt_cache")
        until = cursor.fetchone()
        attempt()
        cursor.execute("SELECT max(expires) FROM public.fleetprompt_cache")
        assert cursor.fetchone() == until


def test_attempts_at_the_same_time_all_count():
    make_user("alpha")

    def guess(_):
        try:
            return attempt().status_code
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(guess, range(LIMIT - 1)))
    assert attempt().status_code == 429


def test_a_header_changes_no_address_unless_a_proxy_is_trusted():
    make_user("alpha")
    for number in range(LIMIT):
        answer = attempt(headers={"x-forwarded-for": f"192.0.2.{number}"})
    assert answer.status_code == 429


@pytest.mark.parametrize(
    ("proxies", "forwarded", "expected"),
    [
        (0, "192.0.2.1", "127.0.0.1"),
        (1, "192.0.2.1", "192.0.2.1"),
        (1, "203.0.113.9, 192.0.2.1", "192.0.2.1"),
        (2, "203.0.113.9, 192.0.2.1, 10.0.0.1", "192.0.2.1"),
        (2, "192.0.2.1", "127.0.0.1"),
        (1, "", None),
        (1, "<script>", None),
        (1, "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        (1, "::ffff:192.0.2.1", "192.0.2.1"),
    ],
)
def test_the_address_behind_proxies(proxies, forwarded, expected):
    request = RequestFactory().get("/", headers={"x-forwarded-for": forwarded})
    with override_settings(TRUSTED_PROXY_COUNT=proxies):
        assert client_ip(request) == expected


def test_the_log_has_one_line_for_a_name_that_looks_like_two():
    text = described("una\n2030-01-01 WARNING locked out: bob\x1b[2J", "192.0.2.1")
    assert text.isprintable()
    assert len(described("x" * 10_000, None)) < 200
