"""Restrictions and undo in a real browser, by keyboard alone, with a real cluster that does the work."""

import re

import pytest
from playwright.sync_api import expect

from directives.models import Directive
from fleetprompt.tenants.context import in_tenant
from forums.models import Post, Thread
from signals.types import Actor
from tests.browser.accessible import check_accessible
from tests.browser.people import log_in, make_people
from tests.support import ask, make_forum, wait_until

HOST = "alpha.localhost"
ADMIN = f"http://{HOST}/admin/"
ADA = Actor("agent", "ada", "Ada")


@pytest.fixture
def forum(database):
    with in_tenant("alpha"):
        return make_forum()


def go_to(page, role, name):
    """Move by the Tab key until the element with this role and name has the focus."""
    wanted = page.get_by_role(role, name=name).first
    expect(wanted).to_be_visible()
    for _ in range(120):
        if wanted.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"the Tab key does not reach {role} {name!r}")


def press(page, role, name):
    """Go to an element by the Tab key, and press Enter."""
    go_to(page, role, name)
    page.keyboard.press("Enter")


def write(page, name, text):
    go_to(page, "textbox", name)
    page.keyboard.type(text)


def do(name, payload, **options):
    """Request a directive, and wait until the cluster has done it."""
    with in_tenant("alpha"):
        directive = ask(name, payload, **options).directive
        wait_until(lambda: Directive.objects.filter(pk=directive.pk, status="succeeded").exists(), name)


def open_subject(page, record):
    page.goto(f"{ADMIN}forums/{record._meta.model_name}/{record.pk}/change/")


def test_a_thread_is_locked_for_an_hour_and_opened_by_its_button(page, forum, cluster):
    log_in(page, HOST, make_people("alpha").moderator)
    open_subject(page, forum.thread)
    press(page, "link", "Lock thread")
    write(page, "Reason", "Flames")
    go_to(page, "combobox", "For how long")
    page.keyboard.type("For an hour")
    expect(page.get_by_label("Until")).to_be_hidden()
    press(page, "button", "Lock 1 thread")
    expect(page.get_by_role("heading", name="Done: 1 of 1")).to_be_visible(timeout=30_000)
    open_subject(page, forum.thread)
    expect(page.get_by_text(re.compile(r"until .* by Mira Okafor, then open"))).to_be_visible()
    check_accessible(page, "a restricted thread")
    press(page, "link", "End restriction: Locked by Mira Okafor")
    write(page, "Reason", "They are calm")
    press(page, "button", "End restriction")
    expect(page.get_by_role("heading", name="Done: 1 of 1")).to_be_visible(timeout=30_000)
    press(page, "link", "Back")
    expect(page.get_by_role("heading", name="Restrictions")).to_have_count(0)
    with in_tenant("alpha"):
        assert Thread.objects.get().status == "open"


def test_a_time_of_ones_own_is_asked_for_when_it_is_chosen(page, forum, problems):
    log_in(page, HOST, make_people("alpha").moderator)
    open_subject(page, forum.thread)
    press(page, "link", "Lock thread")
    write(page, "Reason", "Flames")
    page.get_by_label("For how long").select_option(label="Until …")
    expect(page.get_by_label("Until (required)")).to_be_visible()
    press(page, "button", "Lock 1 thread")
    expect(page.get_by_text("Say until when, or choose for good.")).to_be_visible()
    check_accessible(page, "a time that is missing")
    page.get_by_label("Until (required)").fill("2999-01-01T12:00")
    press(page, "button", "Lock 1 thread")
    expect(page.get_by_text("1 Jan 2999").first).to_be_visible()


def test_what_an_admin_deleted_meanwhile_is_not_unhidden(page, forum, cluster):
    """A moderator opens the confirmation to unhide a post; an admin deletes it; the moderator submits."""
    [post, *_] = forum.posts
    payload = {"post_id": str(post.pk)}
    do("forum.post.hide", payload)
    log_in(page, HOST, make_people("alpha").moderator)
    open_subject(page, post)
    press(page, "link", "Unhide post")
    write(page, "Reason", "It is fine")
    do("forum.post.delete", payload, actor=ADA, reason="Doxxing")
    press(page, "button", "Unhide 1 post")
    came = page.get_by_role("alert")
    expect(came.get_by_text("Nothing was requested: it changed since the page was drawn.")).to_be_visible()
    expect(came.get_by_text("Doxxing")).to_be_visible()
    expect(page.get_by_label("Reason")).to_have_value("It is fine")
    check_accessible(page, "what came since")
    with in_tenant("alpha"):
        assert not Directive.objects.filter(name="forum.post.unhide").exists()
        assert Post.objects.get(pk=post.pk).status == "deleted"


def test_a_batch_is_undone_except_what_changed_since(page, forum, cluster):
    with in_tenant("alpha"):
        for post in forum.posts:
            ask("forum.post.hide", {"post_id": str(post.pk)}, correlation_id="wave", reason="Spam")
    log_in(page, HOST, make_people("alpha").moderator)
    page.goto(f"{ADMIN}directives/directive/batch/wave/")
    expect(page.get_by_role("heading", name="Done: 3 of 3")).to_be_visible(timeout=30_000)
    do("forum.post.unhide", {"post_id": str(forum.posts[1].pk)}, actor=ADA, reason="That one is fine")
    press(page, "link", "Undo the batch")
    expect(page.get_by_text("Some of what you selected will be left alone:")).to_be_visible()
    write(page, "Reason", "Wrong pattern")
    press(page, "button", "Undo 2 directives")
    expect(page.get_by_role("row").nth(1).get_by_text("Not undone")).to_be_visible()
    expect(page.get_by_text("“Unhide post”: “That one is fine”")).to_be_visible()
    expect(page.locator("strong", has_text=re.compile("^Undone$"))).to_have_count(2, timeout=30_000)
    check_accessible(page, "what the undo of a batch came to")
    with in_tenant("alpha"):
        assert {post.status for post in Post.objects.all()} == {"published"}
