"""Restrictions and undo in a real browser, by keyboard alone, with a real cluster that does the work."""

import re
from datetime import datetime, timedelta

import pytest
from playwright.sync_api import expect

from directives.models import Directive
from fleetprompt.tenants.context import in_tenant
from forums.models import Post, Thread
from signals.types import Actor
from tests.browser.accessible import check_accessible
from tests.browser.people import enter, log_in, make_people
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


def test_a_batch_is_undone_except_what_changed_since(page, database, cluster):
    with in_tenant("alpha"):
        posts = make_forum(60).posts
        for post in posts:
            ask("forum.post.hide", {"post_id": str(post.pk)}, correlation_id="wave", reason="Spam")
    log_in(page, HOST, make_people("alpha").moderator)
    page.goto(f"{ADMIN}directives/directive/batch/wave/")
    expect(page.get_by_role("heading", name="Done: 60 of 60")).to_be_visible(timeout=30_000)
    for post in posts[:3]:
        do("forum.post.unhide", {"post_id": str(post.pk)}, actor=ADA, reason="That one is fine")
    press(page, "link", "Undo the batch")
    expect(page.get_by_text("Some of what you selected will be left alone:")).to_be_visible()
    write(page, "Reason", "Wrong pattern")
    press(page, "button", "Undo 57 directives")
    for row in (1, 2, 3):
        expect(page.get_by_role("row").nth(row).get_by_text("Not undone")).to_be_visible()
    expect(page.get_by_text("“Unhide post”: “That one is fine”")).to_have_count(3)
    expect(page.locator("strong", has_text=re.compile("^Undone$"))).to_have_count(57, timeout=30_000)
    check_accessible(page, "what the undo of a batch came to")
    with in_tenant("alpha"):
        assert {post.status for post in Post.objects.all()} == {"published"}


def request(page, record, label, button, reason):
    """Request a directive from the page of a record."""
    open_subject(page, record)
    press(page, "link", label)
    write(page, "Reason", reason)
    press(page, "button", button)


def put_off(page):
    """Choose a later time in the form of a request."""
    page.get_by_label("When").select_option(label="Later")
    page.get_by_label("At (required)").fill("2999-01-01T12:00")


def test_what_an_admin_deleted_is_not_unhidden_nor_hidden(page, forum, cluster):
    """The refusals name who deleted it, when and why; undoing a deletion leaves what was hidden hidden."""
    deleted, both, _ = forum.posts
    people = make_people("alpha")
    do("forum.post.delete", {"post_id": str(deleted.pk)}, actor=ADA, reason="Doxxing")
    log_in(page, HOST, people.moderator)
    for label in ("Unhide post", "Hide post"):
        request(page, deleted, label, label.replace(" ", " 1 "), "It is fine")
        expect(page.get_by_text(re.compile(r"is deleted, by Ada on .* UTC: Doxxing"))).to_be_visible(
            timeout=30_000
        )
    open_subject(page, deleted)
    expect(page.locator("a.fp-button", has_text="Delete post")).to_have_count(0)

    do("forum.post.hide", {"post_id": str(both.pk)}, reason="Spam")
    enter(page, HOST, people.admin)
    request(page, both, "Delete post", "Delete 1 post", "Doxxing")
    expect(page.get_by_role("heading", name="Done: 1 of 1")).to_be_visible(timeout=30_000)
    with in_tenant("alpha"):
        deletion = Directive.objects.get(name="forum.post.delete", subject_id=str(both.pk))
    page.goto(f"{ADMIN}directives/directive/{deletion.pk}/change/")
    press(page, "link", "Undo")
    write(page, "Reason", "A mistake")
    press(page, "button", "Undo 1 directive")
    expect(page.locator("strong", has_text=re.compile("^Undone$"))).to_be_visible(timeout=30_000)
    with in_tenant("alpha"):
        statuses = dict(Post.objects.values_list("pk", "status"))
    assert (statuses[deleted.pk], statuses[both.pk]) == ("deleted", "hidden")


def run_now(page, directive):
    """Have a directive run before its time, and read on its page what came of it."""
    page.goto(f"{ADMIN}directives/directive/{directive.pk}/change/")
    press(page, "link", "Run now")
    write(page, "Reason", "It is time")
    press(page, "button", "Run 1 directive now")
    expect(page.get_by_text("Succeeded").first).to_be_visible(timeout=30_000)
    page.goto(f"{ADMIN}directives/directive/{directive.pk}/change/")


def test_a_timer_and_a_lift_that_was_put_off_leave_a_legal_hold(page, forum, cluster):
    log_in(page, HOST, make_people("alpha").moderator)
    open_subject(page, forum.thread)
    press(page, "link", "Lock thread")
    write(page, "Reason", "Flames")
    page.get_by_label("For how long").select_option(label="For an hour")
    press(page, "button", "Lock 1 thread")
    expect(page.get_by_role("heading", name="Done: 1 of 1")).to_be_visible(timeout=30_000)
    open_subject(page, forum.thread)
    press(page, "link", "Unlock thread")
    write(page, "Reason", "They have cooled down by then")
    page.get_by_label("When").select_option(label="Later")
    page.get_by_label("At (required)").fill((datetime.now() + timedelta(days=2)).strftime("%Y-%m-%dT%H:%M"))
    press(page, "button", "Unlock 1 thread")
    expect(page.get_by_role("heading", name="Waiting for its time: 0 of 1")).to_be_visible()
    do("forum.thread.lock", {"thread_id": str(forum.thread.pk)}, actor=ADA, reason="Legal hold")
    with in_tenant("alpha"):
        hold = Directive.objects.get(name="forum.thread.lock", actor_id=ADA.id)
        timer = Directive.objects.get(name="restriction.end")
        unlock = Directive.objects.get(name="forum.thread.unlock")
    for early in (timer, unlock):
        run_now(page, early)
        result = page.get_by_role("region", name="Result")
        expect(result.get_by_text(re.compile("still.restricted.by"))).to_be_visible()
        expect(result.get_by_text(str(hold.pk))).to_be_visible()
        with in_tenant("alpha"):
            early.refresh_from_db()
            assert early.result["changed"] is False
    open_subject(page, forum.thread)
    restrictions = page.get_by_role("region", name="Restrictions")
    expect(restrictions.get_by_role("listitem")).to_have_count(1)
    expect(restrictions.get_by_text("“Legal hold”")).to_be_visible()
    with in_tenant("alpha"):
        assert Thread.objects.get().status == "locked"


def test_two_reasons_for_one_directive_are_both_in_the_history(page, forum):
    [post, *_] = forum.posts
    people = make_people("alpha")
    for person, reason in ((people.moderator, "Spam"), (people.admin, "Doxxing")):
        enter(page, HOST, person)
        open_subject(page, post)
        press(page, "link", "Hide post")
        write(page, "Reason", reason)
        put_off(page)
        press(page, "button", "Hide 1 post")
        expect(page.get_by_text("1 Jan 2999").first).to_be_visible()
    with in_tenant("alpha"):
        assert Directive.objects.count() == 1
    page.goto(f"{ADMIN}forums/post/{post.pk}/history/")
    again = page.get_by_role("listitem").filter(has_text="directive.requested_again").last
    for text in ("Ada Marsh", "Doxxing", "Mira Okafor", "Spam"):
        expect(again.get_by_text(text).first).to_be_visible()
    check_accessible(page, "two reasons")
