"""Navigation in the admin, in a real browser: by keyboard, back and forth, with choices kept."""

import re
from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from directives.models import Directive
from fleetprompt.tenants.context import in_tenant
from signals.types import Actor
from tests.browser.accessible import check_accessible
from tests.browser.people import Person, enter, make_people
from tests.recipes import accounts
from tests.support import ask, make_forum, run, thinned

HOST = "alpha.localhost"
ADMIN = f"http://{HOST}/admin/"
POSTS = f"{ADMIN}forums/post/"
LIST = f"{ADMIN}directives/directive/"
NARROWED = f"{POSTS}?q=Post&p=2"
LANDMARKS = ("landmark-one-main", "page-has-heading-one", "region", "bypass", "skip-link")


@pytest.fixture
def people(database):
    return make_people("alpha")


@pytest.fixture
def forum(database):
    with in_tenant("alpha"):
        return make_forum(60)


@pytest.fixture
def mira(page, people):
    """A moderator's page."""
    enter(page, HOST, people.moderator)
    return page


def focused(page):
    """Return the name of what has the focus."""
    return page.evaluate(
        "(document.activeElement.ariaLabel ?? document.activeElement.innerText).trim().split('\\n')[0]"
    )


def tab_to(page, name, limit=60):
    """Press Tab until what has that name is in focus."""
    for _ in range(limit):
        page.keyboard.press("Tab")
        if focused(page) == name:
            return
    pytest.fail(f"{name} is never in focus")


def ticked(page):
    """Return the ids of what is ticked in a list."""
    return page.locator("input.action-select:checked").evaluate_all("boxes => boxes.map(box => box.value)")


def ask_about(page, action):
    """Run an action of the list."""
    page.locator("select[name=action]").select_option(action)
    page.get_by_role("button", name="Run", exact=True).click()


@pytest.mark.parametrize("width", thinned([390, 1024], every=2))
def test_the_side_bar_opens_and_closes_by_keyboard(mira, forum, width):
    mira.set_viewport_size({"width": width, "height": 800})
    mira.goto(POSTS)
    posts = mira.get_by_label("Side bar").get_by_role("link", name="Threads")
    expect(posts).to_be_hidden()
    tab_to(mira, "Side bar")
    mira.keyboard.press("Enter")
    expect(posts).to_be_visible()
    assert focused(mira) == "Close the side bar"
    check_accessible(mira, f"the open side bar at {width} px")
    mira.keyboard.press("Enter")
    expect(posts).to_be_hidden()
    assert focused(mira) == "Side bar"
    mira.keyboard.press("Enter")
    expect(posts).to_be_visible()
    mira.keyboard.press("Escape")
    expect(posts).to_be_hidden()
    assert focused(mira) == "Side bar"


def test_the_side_bar_of_a_desk_closes_by_keyboard(mira, forum):
    mira.goto(POSTS)
    threads = mira.get_by_label("Side bar").get_by_role("link", name="Threads")
    expect(threads).to_be_visible()
    tab_to(mira, "Side bar")
    mira.keyboard.press("Enter")
    expect(threads).to_be_hidden()
    mira.keyboard.press("Enter")
    expect(threads).to_be_visible()


def test_the_first_tab_skips_the_side_bar(mira, forum):
    mira.goto(POSTS)
    mira.keyboard.press("Tab")
    assert focused(mira) == "Skip to the content"
    expect(mira.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
    mira.keyboard.press("Enter")
    mira.keyboard.press("Tab")
    assert mira.evaluate("document.querySelector('main').contains(document.activeElement)")


def test_filters_and_theme_open_by_keyboard(mira, forum):
    mira.goto(POSTS)
    tab_to(mira, "Filters")
    mira.keyboard.press("Enter")
    expect(mira.get_by_role("link", name="Hidden", exact=True)).to_be_visible()
    assert mira.evaluate("document.getElementById('changelist-filter').contains(document.activeElement)")
    mira.keyboard.press("Escape")
    expect(mira.get_by_role("link", name="Hidden", exact=True)).to_be_hidden()
    assert focused(mira) == "Filters"
    mira.get_by_role("button", name="Mira Okafor").press("Enter")
    mira.get_by_role("button", name="Dark").press("Enter")
    expect(mira.locator("html.dark")).to_have_count(1)


@pytest.mark.parametrize(
    "path",
    thinned(
        [
            "directives/directive/request/forum.post.hide/",
            "",
            "forums/",
            "forums/post/",
            "directives/directive/",
        ],
        every=5,
    ),
)
def test_each_page_has_a_main_part_and_one_main_heading(mira, forum, path):
    mira.goto(f"{ADMIN}{path}")
    check_accessible(mira, rules=LANDMARKS)
    assert mira.locator("h1").count() == 1


def test_the_log_in_page_has_a_main_part_and_one_main_heading(page, database):
    page.goto(f"{ADMIN}login/")
    check_accessible(page, rules=LANDMARKS)
    assert page.locator("h1").count() == 1
    tab_to(page, "Theme")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Dark").press("Enter")
    expect(page.locator("html.dark")).to_have_count(1)
    check_accessible(page, "the log-in page with its themes")


@pytest.mark.long
def test_the_operators_pages_have_a_main_part_and_one_main_heading(page, database):
    olga = Person("olga", "olga's password")
    accounts.with_password(accounts.superuser, olga.password, username=olga.username)
    enter(page, "localhost", olga)
    for path in ("", "tenants/tenant/", "tenants/tenant/add/", "auth/user/"):
        page.goto(f"http://localhost/admin/{path}")
        check_accessible(page, rules=LANDMARKS)
        assert page.locator("h1").count() == 1


@pytest.mark.parametrize("way", thinned(["browser", "link"], every=2))
def test_going_back_from_the_question_finds_search_page_and_ticks(mira, forum, way):
    mira.goto(NARROWED)
    for number in (0, 2):
        mira.locator("input.action-select").nth(number).check()
    before = ticked(mira)
    ask_about(mira, "request:forum.post.hide")
    expect(mira.get_by_role("heading", name="Hide 2 posts")).to_be_visible()
    if way == "link":
        mira.get_by_role("link", name="Back to the list").click()
    else:
        mira.go_back()
    expect(mira.get_by_text("2 of 10 selected")).to_be_visible()
    assert mira.url.partition("#")[0] == NARROWED
    assert ticked(mira) == before


def test_going_back_finds_that_all_were_chosen(mira, forum):
    mira.goto(f"{POSTS}?q=Post")
    mira.locator("#action-toggle").check()
    mira.get_by_role("link", name="Select all 60 posts").click()
    ask_about(mira, "request:forum.post.hide")
    expect(mira.get_by_role("heading", name="Hide 60 posts")).to_be_visible()
    mira.get_by_role("link", name="Back to the list").click()
    expect(mira.get_by_role("link", name="Clear selection")).to_be_visible()
    ask_about(mira, "request:forum.post.hide")
    expect(mira.get_by_role("heading", name="Hide 60 posts")).to_be_visible()


def test_after_the_request_the_list_is_as_it_was_and_nothing_is_ticked(mira, forum):
    mira.goto(NARROWED)
    mira.locator("input.action-select").first.check()
    ask_about(mira, "request:forum.post.hide")
    mira.get_by_label("Reason").fill("Spam")
    mira.get_by_role("button", name="Hide 1 post").click()
    mira.get_by_role("link", name="Back to the list").click()
    expect(mira).to_have_url(NARROWED)
    mira.go_back()
    mira.go_forward()
    expect(mira).to_have_url(NARROWED)
    mira.wait_for_timeout(300)
    assert ticked(mira) == []


def test_back_and_reload_never_warn_of_a_second_submit(mira, forum):
    """The list, its question, the form with errors, the dry run, the batch: each is a page of its own."""
    mira.goto(NARROWED)
    mira.locator("input.action-select").first.check()
    ask_about(mira, "request:forum.post.hide")
    mira.get_by_role("button", name="Hide 1 post").click()
    expect(mira.get_by_text("This field is required.")).to_be_visible()
    expect(mira.get_by_label("Reason")).to_be_focused()
    mira.get_by_label("Reason").fill("The third wave")
    mira.get_by_role("button", name="Show what would happen").click()
    expect(mira.get_by_role("heading", name="What would happen")).to_be_visible()
    assert mira.reload().request.method == "GET"
    expect(mira.get_by_label("Reason")).to_have_value("The third wave")
    expect(mira.get_by_role("heading", name="What would happen")).to_be_visible()
    mira.get_by_role("button", name="Hide 1 post").click()
    expect(mira.get_by_role("progressbar")).to_be_visible()
    mira.goto(ADMIN)
    for shown in (
        mira.get_by_role("progressbar"),
        mira.get_by_role("heading", name="What would happen"),
        mira.get_by_text("This field is required."),
        mira.get_by_role("heading", name="Hide 1 post"),
        mira.locator("#searchbar"),
    ):
        mira.go_back()
        expect(shown).to_be_visible()
        assert (
            mira.evaluate("performance.getEntriesByType('navigation')[0].name")
            == mira.url.partition("#")[0]
        )
    with in_tenant("alpha"):
        assert Directive.objects.count() == 1


def test_back_to_an_operation_never_warns_of_a_second_submit(mira, forum):
    with in_tenant("alpha"):
        # Not at once: another test's cluster may be running.
        later = timezone.now() + timedelta(minutes=5)
        lock = ask("forum.thread.lock", {"thread_id": str(forum.thread.pk)}, scheduled_at=later).directive
    mira.goto(f"{LIST}?status=snoozed")
    mira.locator("input.action-select").first.check()
    ask_about(mira, "snooze")
    expect(mira.get_by_role("heading", name="Snooze 1 directive")).to_be_visible()
    mira.get_by_role("button", name="Snooze 1 directive").click()
    expect(mira.get_by_text("This field is required.")).to_be_visible()
    mira.get_by_label("Reason").fill("Later")
    mira.get_by_role("button", name="Snooze 1 directive").click()
    expect(mira.get_by_role("heading", name="Snooze: what happened")).to_be_visible()
    mira.go_back()
    expect(mira.get_by_text("This field is required.")).to_be_visible()
    mira.go_back()
    expect(mira.get_by_role("heading", name="Snooze 1 directive")).to_be_visible()
    mira.get_by_role("link", name="Back to the list").click()
    expect(mira).to_have_url(f"{LIST}?status=snoozed")
    with in_tenant("alpha"):
        assert Directive.objects.get(pk=lock.pk).scheduled_at > timezone.now() + timedelta(minutes=10)


def test_a_form_of_djangos_own_that_is_wrong_becomes_an_ordinary_page(page, people):
    enter(page, HOST, people.admin)
    page.goto(f"{ADMIN}auth/group/add/")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("This field is required.").first).to_be_visible()
    page.goto(ADMIN)
    page.go_back()
    expect(page.get_by_role("heading", name="Add group")).to_be_visible()
    assert page.reload().request.method == "GET"


def test_ages_go_on_while_the_page_is_open(mira, forum):
    with in_tenant("alpha"):
        ask("forum.post.hide", {"post_id": str(forum.posts[0].pk)})
    mira.clock.install()
    mira.goto(LIST)
    age = mira.locator("td.field-age time")
    assert "ms" not in age.inner_text()
    mira.clock.run_for(65_000)
    expect(age).to_have_text("1 min ago")
    mira.clock.run_for(3_600_000)
    expect(age).to_have_text("1 h ago")


def test_what_is_still_to_come_comes_closer(mira, forum):
    with in_tenant("alpha"):
        later = timezone.now() + timedelta(seconds=90)
        lock = ask("forum.thread.lock", {"thread_id": str(forum.thread.pk)}, scheduled_at=later).directive
    mira.clock.install()
    mira.goto(f"{LIST}{lock.pk}/change/")
    due = mira.get_by_role("status").locator("time").first
    expect(due).to_have_text("in 1 min")
    # Before the part of the page with it is loaded again.
    mira.route("**/live/**", lambda route: route.fulfill(status=204))
    mira.clock.run_for(50_000)
    assert re.fullmatch(r"in (3\d|40) s", due.inner_text())
    mira.clock.run_for(60_000)
    assert due.inner_text().endswith(" s ago")


def test_no_column_of_directives_is_cut_off_at_1280_pixels(mira, forum):
    with in_tenant("alpha"):
        actor = Actor("agent", "7", "Maximiliane Okafor-Lindgren")
        post = str(forum.posts[0].pk)
        made = run(
            ask(
                "forum.post.hide", {"post_id": post}, actor=actor, reason="The spammer again " * 9
            ).directive
        )
        now = timezone.now()
        Directive.objects.filter(pk=made.directive_id).update(
            attempt=10,
            max_attempts=10,
            status="succeeded",
            created_at=now - timedelta(minutes=59),
            started_at=now - timedelta(minutes=59, seconds=30),
            completed_at=now,
        )
    mira.goto(LIST)
    expect(mira.locator("td.field-took")).to_have_text("59 min")
    table = "document.getElementById('result_list')"
    assert mira.evaluate(f"{table}.scrollWidth <= {table}.parentElement.clientWidth")
    cells = "[...document.querySelectorAll('#result_list :is(td, th)')]"
    assert mira.evaluate(f"{cells}.every(cell => cell.getBoundingClientRect().right <= innerWidth)")


def test_the_table_of_clusters_fits_on_a_phone(page, database, cluster):
    olga = Person("olga", "olga's password")
    accounts.with_password(accounts.superuser, olga.password, username=olga.username)
    page.set_viewport_size({"width": 390, "height": 844})
    enter(page, "localhost", olga)
    page.goto("http://localhost/admin/")
    expect(page.locator("#fp-clusters")).to_be_visible(timeout=30_000)
    table = "document.getElementById('fp-clusters')"
    assert page.evaluate(f"{table}.scrollWidth <= {table}.clientWidth")


def test_a_reason_is_marked_as_required(mira, forum):
    mira.goto(f"{LIST}request/forum.post.hide/?subjects={forum.posts[0].pk}")
    reason = mira.get_by_role("textbox", name="Reason (required)")
    expect(reason).to_have_attribute("aria-required", "true")
    mira.goto(f"{LIST}request/forum.post.create/")
    expect(mira.get_by_role("textbox", name="Content (required)")).to_have_attribute(
        "aria-required", "true"
    )
    expect(mira.get_by_role("combobox", name="Thread (required)")).to_have_attribute(
        "aria-required", "true"
    )
    expect(mira.get_by_text("When (required)")).to_have_count(0)
