"""A moderator's day in a real browser, with a real cluster that does the work."""

import re
from datetime import datetime, timedelta
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from playwright.sync_api import expect

from directives import requests
from directives.models import Directive
from fleetprompt.tenants.context import in_tenant
from forums.models import Post, Thread
from tests.browser.accessible import check_accessible
from tests.browser.people import enter, log_in, make_people
from tests.support import TESTER, ask, manage, wait_until

HOST = "alpha.localhost"
ADMIN = f"http://{HOST}/admin/"
SPAM = 60
FINE = 40


@pytest.fixture
def people(database, tmp_path):
    """People of a community whose comments were just imported."""
    path = tmp_path / "comments.csv"
    rows = [f'{n},Ann,,"Comment {n}: what a goal"' for n in range(FINE)]
    rows += [f's{n},Bob,,"Cheap watches {n}, click here!"' for n in range(SPAM)]
    path.write_text("id,author,date,content\n" + "\n".join(rows) + "\n")
    done = manage("import_posts", str(path), "--tenant", "alpha", "--thread", "The match")
    assert done.returncode == 0, done.stderr
    return make_people("alpha")


def choose(page, action):
    """Choose a list action for what is ticked, and go on to its question."""
    page.locator("select[name=action]").select_option(action)
    page.get_by_role("button", name="Run", exact=True).click()


def wait_for_batch(page, number):
    """Wait until the batch's page says by itself that everything is done."""
    expect(page.get_by_role("heading", name=f"Done: {number} of {number}")).to_be_visible(timeout=30_000)


def test_the_day(page, people, cluster, problems):
    log_in(page, HOST, people.moderator)
    _hide_the_spam(page)
    directive = _read_a_timeline(page)
    _undo_it(page, directive)
    problems.allow(400)
    _lock_in_an_hour(page)
    _snooze_it(page)


def _hide_the_spam(page):
    page.get_by_role("link", name="Posts").first.click()
    page.locator("#searchbar").fill("watches")
    page.locator("#searchbar").press("Enter")
    expect(page.get_by_text(f"{SPAM} posts", exact=True)).to_be_visible()
    page.locator("#action-toggle").check()
    page.get_by_role("link", name=f"Select all {SPAM} posts").click()
    choose(page, "request:forum.post.hide")
    expect(page.get_by_role("heading", name=f"Hide {SPAM} posts")).to_be_visible()
    expect(page.get_by_role("listitem").filter(has_text=f"{SPAM} from published to hidden")).to_be_visible()
    page.get_by_label("Reason").fill("The watch spammer again")
    page.get_by_role("button", name="Show what would happen").click()
    expect(page.get_by_text("Tried just now and rolled back")).to_be_visible()
    expect(page.get_by_text("published → hidden").first).to_be_visible()
    check_accessible(page, "a dry run")
    with in_tenant("alpha"):
        assert not Directive.objects.exists()
    page.get_by_role("button", name=f"Hide {SPAM} posts").click()
    wait_for_batch(page, SPAM)
    with in_tenant("alpha"):
        hidden = Post.objects.filter(status="hidden")
        assert hidden.count() == SPAM
        assert all("watches" in post.content for post in hidden)


def _read_a_timeline(page):
    page.get_by_role("row").nth(1).get_by_role("link", name="Hide post").click()
    timeline = page.get_by_role("region", name="Timeline")
    for name in (
        "directive.requested",
        "directive.started",
        "forum.post.hidden",
        "directive.succeeded",
    ):
        expect(timeline.get_by_text(name, exact=True)).to_be_visible()
    expect(timeline.get_by_text("by Mira Okafor").first).to_be_visible()
    expect(page.get_by_text("The watch spammer again").first).to_be_visible()
    with in_tenant("alpha"):
        return Directive.objects.get(pk=re.search(r"directive/([0-9a-f-]{36})/", page.url)[1])


def _undo_it(page, directive):
    page.get_by_role("link", name="Undo").click()
    expect(page.get_by_role("heading", name="Undo 1 directive")).to_be_visible()
    page.get_by_label("Reason").fill("That one was about a real watch")
    page.get_by_role("button", name="Undo 1 directive").click()
    expect(page.get_by_role("row").nth(1).get_by_text("Undone")).to_be_visible(timeout=30_000)
    check_accessible(page, "what an undo came to")
    with in_tenant("alpha"):
        assert Post.objects.get(pk=directive.subject_id).status == "published"
        undo = Directive.objects.get(name="restriction.end")
        assert undo.causation_id == str(directive.pk)
    page.goto(f"{ADMIN}forums/post/{directive.subject_id}/history/")
    expect(page.get_by_text("That one was about a real watch").first).to_be_visible()
    expect(page.get_by_text("The watch spammer again").first).to_be_visible()


def _lock_in_an_hour(page):
    page.get_by_role("link", name="Threads").first.click()
    page.get_by_role("link", name="The match").first.click()
    page.get_by_role("link", name="Lock thread").click()
    page.get_by_role("button", name="Lock 1 thread").click()
    expect(page.get_by_text("This field is required.")).to_be_visible()
    check_accessible(page, "a form with an error")
    page.get_by_label("Reason").fill("Match is over then")
    page.get_by_label("When").select_option(label="Later")
    later = datetime.now(ZoneInfo("Europe/Paris")) + timedelta(hours=1)
    page.get_by_label("At (required)").fill(later.strftime("%Y-%m-%dT%H:%M"))
    page.get_by_role("button", name="Lock 1 thread").click()
    expect(page.get_by_role("heading", name="Waiting for its time: 0 of 1")).to_be_visible()
    with in_tenant("alpha"):
        lock = Directive.objects.get(name="forum.thread.lock")
        assert abs(lock.scheduled_at - later) < timedelta(minutes=1)
        assert Thread.objects.get().status == "open"


def _snooze_it(page):
    page.get_by_role("row").nth(1).get_by_role("link", name="Lock thread").click()
    page.get_by_role("link", name="Snooze").click()
    page.get_by_label("Tomorrow morning").check()
    page.get_by_label("Reason").fill("They still talk nicely")
    page.get_by_role("button", name="Snooze").click()
    expect(page.get_by_role("row").nth(1).get_by_text("Snoozed").first).to_be_visible()
    check_accessible(page, "what an operation came to")
    with in_tenant("alpha"):
        lock = Directive.objects.get(name="forum.thread.lock")
        at = lock.scheduled_at.astimezone(ZoneInfo("Europe/Paris"))
        assert (at.hour, at.minute, lock.status, lock.attempt) == (9, 0, "requested", 0)


@pytest.fixture
def failed(people, cluster):
    """A post that an agent wanted to add to a locked thread; the thread is open again by now."""
    with in_tenant("alpha"):
        thread = Thread.objects.get()
        ask("forum.thread.lock", {"thread_id": str(thread.pk)})
        # Posts are unordered: a worker may execute this one before the lock.
        wait_until(lambda: has_status(thread, "locked"), "the thread is locked")
        payload = {"thread_id": str(thread.pk), "content": "Summary", "author_id": "bot"}
        post = ask("forum.post.create", {**payload, "client_request_id": "1"}).directive
        wait_until(lambda: has_status(post, "failed"), "the post failed")
        ask("forum.thread.unlock", {"thread_id": str(thread.pk)}, actor=TESTER)
        wait_until(lambda: has_status(thread, "open"), "the thread is open")
    return post


def has_status(record, status):
    """Return whether the record has that status in the database now."""
    return type(record).objects.filter(pk=record.pk, status=status).exists()


def test_an_admin_reruns_what_failed(page, people, failed):
    enter(page, HOST, people.admin)
    page.goto(ADMIN)
    expect(page.get_by_text("DirectiveError").first).to_be_visible()
    page.goto(f"{ADMIN}directives/directive/{failed.pk}/change/")
    expect(page.get_by_text("is locked").first).to_be_visible()
    page.get_by_role("link", name="Rerun").click()
    page.get_by_label("Reason").fill("The thread is open again")
    page.get_by_role("button", name="Rerun").click()
    expect(page.get_by_role("heading", name="Rerun: what happened")).to_be_visible()
    page.goto(f"{ADMIN}directives/directive/{failed.pk}/change/")
    expect(page.get_by_role("status").get_by_text("Succeeded")).to_be_visible(timeout=20_000)
    expect(page.get_by_text("directive.rerun_requested", exact=True)).to_be_visible()
    with in_tenant("alpha"):
        assert Post.objects.get(author_type="agent").content == "Summary"


@pytest.mark.long
def test_a_moderator_is_refused_a_rerun(page, people, failed, problems):
    problems.allow(403)
    enter(page, HOST, people.moderator)
    page.goto(f"{ADMIN}directives/directive/{failed.pk}/change/")
    expect(page.get_by_role("status").get_by_text("Failed")).to_be_visible()
    expect(page.get_by_role("link", name="Rerun")).to_have_count(0)
    address = f"{ADMIN}directives/directive/operate/rerun/?id={failed.pk}"
    assert page.goto(address).status == 403
    page.goto(f"{ADMIN}directives/directive/")
    token = page.locator("[name=csrfmiddlewaretoken]").first.input_value()
    form = {"_selected_action": str(failed.pk), "reason": "x", "token": str(uuid4())}
    post = (
        "([url, form]) => fetch(url, {method: 'POST', body: new URLSearchParams(form)}).then(a => a.status)"
    )
    assert page.evaluate(post, [address, {**form, "csrfmiddlewaretoken": token}]) == 403
    with in_tenant("alpha"):
        failed.refresh_from_db()
        assert failed.status == "failed"


@pytest.mark.long
def test_an_auditor_reads_and_changes_nothing(page, people, failed, problems):
    enter(page, HOST, people.auditor)
    for path in ("forums/post/", "forums/thread/", "directives/directive/"):
        page.goto(f"{ADMIN}{path}")
        expect(page.get_by_role("table").first).to_be_visible()
        assert page.locator("select[name=action] option[value]:not([value=''])").count() == 0
    page.goto(f"{ADMIN}directives/directive/{failed.pk}/change/")
    expect(page.get_by_role("region", name="Timeline")).to_be_visible()
    for name in ("Snooze", "Rerun", "Cancel", "Run now", "Undo"):
        expect(page.get_by_role("link", name=name)).to_have_count(0)
    page.goto(f"{ADMIN}signals/signal/")
    with page.expect_download() as download:
        page.get_by_role("link", name="JSON Lines").click()
    assert "directive.failed" in download.value.path().read_text()
    problems.allow(403)
    answer = page.goto(f"{ADMIN}directives/directive/request/forum.post.hide/")
    assert answer.status == 403


@pytest.mark.long
def test_a_moderators_cookie_is_nobodys_in_another_community(page, people, problems):
    enter(page, HOST, people.moderator)
    [session] = [one for one in page.context.cookies() if one["name"] == "sessionid"]
    page.context.add_cookies([{**session, "domain": "beta.localhost"}])
    for path in ("", "directives/directive/", "forums/post/"):
        page.goto(f"http://beta.localhost/admin/{path}")
        expect(page).to_have_url(re.compile(r"http://beta\.localhost/admin/login/"))


@pytest.fixture
def release(page, people, cluster):
    """A batch that no worker can claim until the test calls this, with its page open."""
    batch_id = str(uuid4())

    def claims(function):
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {function}(hashtext('org_alpha.claim'))")

    claims("pg_advisory_lock")
    try:
        with in_tenant("alpha"):
            payloads = [{"post_id": str(pk)} for pk in Post.objects.values_list("pk", flat=True)[:3]]
            requests.request_batch(batch_id, "forum.post.hide", payloads, actor=TESTER, reason="Spam")
        enter(page, HOST, people.moderator)
        page.goto(f"{ADMIN}directives/directive/batch/{batch_id}/")
        expect(page.get_by_role("heading", name="Working: 0 of 3")).to_be_visible()
        yield lambda: claims("pg_advisory_unlock")
    finally:
        claims("pg_advisory_unlock")


@pytest.mark.long
def test_a_batch_stays_live_after_an_answer_that_failed(page, release, problems):
    problems.allow(503)
    failures = []

    def fail_once(route):
        if failures:
            route.continue_()
        else:
            failures.append(route.request.url)
            route.fulfill(status=503, body="Busy")

    page.route("**/batch/**", fail_once)
    page.wait_for_timeout(2_500)
    assert failures
    release()
    wait_for_batch(page, 3)


@pytest.mark.long
def test_a_session_that_ends_under_a_live_page_leads_to_the_log_in(page, release):
    page.context.clear_cookies(name="sessionid")
    expect(page).to_have_url(re.compile("/admin/login/"), timeout=10_000)
    expect(page.get_by_role("progressbar")).to_have_count(0)
