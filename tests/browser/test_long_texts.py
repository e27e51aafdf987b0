"""Long texts without spaces: no page grows wider than its window."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import expect

from fleetprompt.tenants.context import in_tenant
from fleetprompt.tenants.models import Tenant
from forums import content
from forums.models import Post, Thread
from signals import bus
from signals.types import Actor, Subject
from tests.browser.pages import LOOKS, PAGES
from tests.browser.people import Person, enter
from tests.support import ask, run, thinned

LONG = "Wm" * 100
VERY_LONG = LONG * 20
TOO_WIDE = """() => {
    const root = document.documentElement, width = root.clientWidth, found = [];
    if (root.scrollWidth > width) found.push(`page: ${root.scrollWidth} of ${width} px`);
    const scrolls = (one) => one && one !== document.body &&
        (getComputedStyle(one).overflowX !== "visible" || scrolls(one.parentElement));
    const columns = "#result_list th, #result_list td, .fp-table:not(.fp-wide) td";
    for (const one of document.querySelectorAll("body *")) {
        const box = one.getBoundingClientRect();
        const ends = box.width > 1 && box.left < width && box.right > width + 1;
        if (ends && (one.matches(columns) || !scrolls(one)))
            found.push(`${one.tagName}.${one.className}: ${box.left} to ${box.right}`);
    }
    for (const one of document.querySelectorAll("#result_list tbody :is(th, td)"))
        if (one.scrollHeight > one.clientHeight + 1) found.push(`cut: ${one.className}`);
    return found.slice(0, 8);
}"""
WIDTHS = [look for look in LOOKS if look.scheme == "light"]
PARTS = 3


@pytest.fixture
def wordy(database):
    """A community in which every text is long and has no space; its superuser and an operator."""
    person = Person("una", "a password for tests")
    Tenant.objects.filter(slug="alpha").update(name=LONG)
    with in_tenant("alpha"):
        User.objects.create_superuser(
            person.username, password=person.password, first_name=LONG[:150], last_name=LONG[:150]
        )
        actor = Actor("agent", LONG[:255], label=LONG[:255])
        category = content.create_category("w" * 50, LONG, actor=actor)
        category.description = VERY_LONG
        category.save()
        thread = content.create_thread(category, LONG, actor=actor, external_id=LONG)
        for _ in range(3):
            content.create_post(
                thread, VERY_LONG, actor=actor, author_id=LONG, author_label=LONG, author_type="agent"
            )
        post = Post.objects.all()[0]
        options = {"actor": actor, "reason": VERY_LONG[:1000], "correlation_id": LONG, "causation_id": LONG}
        hide = {"post_id": str(post.pk)}
        run(
            ask(
                "forum.post.hide",
                hide,
                idempotency_key=LONG,
                metadata={LONG: [LONG, {LONG: LONG}]},
                **options,
            ).directive
        )
        run(ask("zoo.animal.refuse", {"animal": LONG[:50], "note": LONG[:100]}, **options).directive)
        later = timezone.now() + timedelta(hours=1)
        ask("forum.thread.lock", {"thread_id": str(thread.pk)}, scheduled_at=later, **options)
        bus.emit(
            "forum." + "w" * 200,
            {LONG: [VERY_LONG, {LONG: {LONG: {LONG: {LONG: {LONG: {LONG: [LONG, LONG]}}}}}}]},
            dedupe_key=LONG,
            actor=actor,
            subject=Subject("forum.thread", str(thread.pk)),
            source=("w" * 200),
            correlation_id=LONG,
        )
    olga = Person("olga", "a password for tests")
    User.objects.create_superuser(
        olga.username, password=olga.password, first_name=LONG[:150], last_name=LONG[:150]
    )
    yield person, olga
    Tenant.objects.filter(slug="alpha").update(name="Alpha")


def too_wide(page, name):
    """Return what of the open page is wider than the window, on a desk and on a phone."""
    found = []
    for look in WIDTHS:
        page.set_viewport_size({"width": look.width, "height": look.height})
        page.wait_for_timeout(100)
        found += [f"{name} at {look.width}: {one}" for one in page.evaluate(TOO_WIDE)]
    return found


def visit(page, addresses, host):
    found = []
    for name, address in addresses.items():
        page.goto(f"http://{host}{address}")
        found += too_wide(page, name)
    return found


def addresses_of_admin():
    """Return the pages of the tenants' admin: all that other checks look at, and some more."""
    with in_tenant("alpha"):
        first, thread = Post.objects.all()[0], Thread.objects.all()[0]
        return {name: find() for name, find in PAGES.items()} | {
            "post with history": f"/admin/forums/post/{first.pk}/change/",
            "post's history": f"/admin/forums/post/{first.pk}/history/",
            "category": f"/admin/forums/category/{thread.category_id}/change/",
            "accounts": "/admin/auth/user/",
            "log": "/admin/admin/logentry/",
        }


@pytest.mark.parametrize("part", thinned(range(PARTS), every=PARTS))
def test_no_page_of_the_admin_is_wider_than_its_window(page, wordy, part):
    enter(page, "alpha.localhost", wordy[0])
    mine = dict(list(addresses_of_admin().items())[part::PARTS])
    found = visit(page, mine, "alpha.localhost")
    assert not found, "\n".join(found)


@pytest.mark.long
def test_no_answer_of_the_admin_is_wider_than_its_window(page, wordy):
    enter(page, "alpha.localhost", wordy[0])
    addresses = addresses_of_admin()
    page.goto(f"http://alpha.localhost{addresses['request, confirmation']}")
    page.get_by_label("Reason").fill(VERY_LONG[:1000])
    page.locator("button[value=dry_run]").click()
    expect(page.get_by_text("What would happen", exact=True)).to_be_visible()
    found = too_wide(page, "dry run")
    page.goto(f"http://alpha.localhost{addresses['snooze'].replace('/snooze/', '/cancel/')}")
    page.get_by_label("Reason").fill(VERY_LONG[:1000])
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("heading", name="what happened")).to_be_visible()
    found += too_wide(page, "result")
    assert not found, "\n".join(found)


@pytest.mark.long
def test_no_page_of_the_operators_is_wider_than_its_window(page, wordy):
    enter(page, "localhost", wordy[1])
    paths = ("", "tenants/tenant/", "tenants/domain/", "auth/user/")
    addresses = {f"operators {path}": f"/admin/{path}" for path in paths}
    found = visit(page, addresses, "localhost")
    assert not found, "\n".join(found)


def test_no_page_for_readers_is_wider_than_its_window(page, wordy, problems):
    problems.allow(404, 400, 403)
    with in_tenant("alpha"):
        thread = Thread.objects.all()[0]
    addresses = {
        "forum": "/",
        "public thread": f"/threads/{thread.pk}/",
        "log in": "/admin/login/",
    }
    found = visit(page, addresses, "alpha.localhost")
    with in_tenant("alpha"):
        User.objects.filter(username=wordy[0].username).update(is_superuser=False, username=LONG[:150])
    enter(page, "alpha.localhost", wordy[0]._replace(username=LONG[:150]))
    found += visit(page, {"refused": f"/admin/directives/directive/batch/{LONG}/"}, "alpha.localhost")
    assert page.get_by_role("heading", name="You are not allowed to do this").is_visible()
    assert not found, "\n".join(found)
