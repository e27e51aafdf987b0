"""Users of the admin in browser tests, and their log-in."""

from typing import NamedTuple

from django.conf import settings
from django.contrib.auth.models import Group, User
from playwright.sync_api import Page, expect

from directives.authority import roles
from fleetprompt.tenants.context import in_tenant
from tests.accounts import OPERATORS, logged_in, within
from tests.recipes import accounts


class Person(NamedTuple):
    """An account, with the password it is logged in with."""

    username: str
    password: str


class People(NamedTuple):
    """One person of each kind in one tenant."""

    moderator: Person
    auditor: Person
    admin: Person


def make_people(slug: str) -> People:
    """Make a moderator, an auditor and an admin (a superuser) in a tenant."""
    with in_tenant(slug):
        return People(
            _make("mira", "Mira Okafor", roles.MODERATOR),
            _make("aki", "Aki Lindgren", roles.AUDITOR),
            _make("ada", "Ada Marsh", None),
        )


def _make(username: str, name: str, group: str | None) -> Person:
    person = Person(username, f"{username}'s password")
    first, last = name.split()
    fields = {"username": username, "first_name": first, "last_name": last, "is_superuser": group is None}
    user = accounts.with_password(accounts.staff, person.password, **fields)
    if group:
        user.groups.add(Group.objects.get(name=group))
    return person


def fill_log_in(page: Page, host: str, person: Person) -> None:
    """Send the form of a host's log-in page with a person's name and password."""
    page.goto(f"http://{host}/admin/login/?next=/admin/")
    page.get_by_label("Username").fill(person.username)
    page.get_by_label("Password").fill(person.password)
    page.get_by_role("button", name="Log in").click()


def log_in(page: Page, host: str, person: Person) -> None:
    """Log a person in on a host, as people do; the page is the admin's first one then."""
    fill_log_in(page, host, person)
    expect(page).to_have_url(f"http://{host}/admin/")


def enter(page: Page, host: str, person: Person) -> None:
    """Give the page's browser a session of the person on a host; no page is opened."""
    site = "" if host == OPERATORS else host.removesuffix(f".{OPERATORS}")
    with within(site):
        user = User.objects.get(username=person.username)
    [cookie] = logged_in(site, user).cookies.values()
    assert cookie.key == settings.SESSION_COOKIE_NAME
    page.context.add_cookies(
        [{"name": cookie.key, "value": cookie.value, "domain": host, "path": "/", "httpOnly": True}]
    )
