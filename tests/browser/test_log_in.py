"""Log-in and log-out in a real browser; a session of one site is unknown on the others."""

import re

import pytest
from playwright.sync_api import expect

from fleetprompt.tenants.context import in_tenant
from tests.browser.people import Person, fill_log_in, log_in, make_people
from tests.support import make_forum

LOG_IN = "http://alpha.localhost/admin/login/?next=/admin/"


def test_a_moderator_logs_in_and_out(page):
    log_in(page, "alpha.localhost", make_people("alpha").moderator)
    expect(page).to_have_title("Overview | Alpha")
    page.goto("http://alpha.localhost/admin/forums/post/")
    expect(page.get_by_role("heading", name="posts")).to_be_visible()
    page.goto("http://alpha.localhost/admin/")
    page.get_by_role("button", name="Mira Okafor").press("Enter")
    page.get_by_role("button", name="Log out").click()
    page.goto("http://alpha.localhost/admin/")
    expect(page).to_have_url(LOG_IN)


def test_a_wrong_password_is_told(page):
    mira = make_people("alpha").moderator
    fill_log_in(page, "alpha.localhost", Person(mira.username, "wrong"))
    expect(page.get_by_text("Please enter the correct username and password")).to_be_visible()
    expect(page).to_have_url(LOG_IN)


def test_somebody_of_one_community_is_nobody_in_another(page):
    people = make_people("alpha")
    make_people("beta")
    log_in(page, "alpha.localhost", people.admin)
    # The browser keeps cookies apart by host; an attacker does not.
    [session] = [one for one in page.context.cookies() if one["name"] == "sessionid"]
    page.context.add_cookies([{**session, "domain": "beta.localhost"}])
    page.goto("http://beta.localhost/admin/")
    expect(page).to_have_url("http://beta.localhost/admin/login/?next=/admin/")


@pytest.mark.parametrize(("zone", "names"), [("Europe/Paris", "CES?T"), ("America/New_York", "E[SD]T")])
def test_times_are_those_of_the_browsers_zone(new_page, zone, names):
    people = make_people("alpha")
    with in_tenant("alpha"):
        make_forum()
    page = new_page(timezone_id=zone)
    log_in(page, "alpha.localhost", people.auditor)
    page.goto("http://alpha.localhost/admin/forums/thread/")
    moment = page.locator("time").first
    assert re.search(rf" {names}$", moment.get_attribute("title") or "")
