"""Texts with script, markup and hidden characters, everywhere where texts are stored, in a real browser."""

import pytest
from playwright.sync_api import expect

from fleetprompt.tenants.context import in_tenant
from fleetprompt.tenants.models import Tenant
from fleetprompt.visible import visible
from forums.models import Post, Thread
from signals import bus
from signals.types import Actor, Subject
from tests.browser.pages import PAGES
from tests.browser.people import Person, enter
from tests.hostile.strategies import HIDDEN, MARKUP
from tests.recipes import accounts, forums
from tests.support import ask, run

HOSTILE = "".join(MARKUP)
OVERRIDE = "annexe\u202etxt.exe"
SHORT = MARKUP[1] + OVERRIDE
HANDLERS = """() => [...document.querySelectorAll('*')].flatMap(element => [...element.attributes])
    .filter(one => /^(on|x-|hx-on|data-hx-on)/.test(one.name) && one.value.includes('pwned'))
    .map(one => one.ownerElement.outerHTML)"""


@pytest.fixture
def evil(database):
    """A community in which every text is hostile, users' names included; its superuser and an operator."""
    person = Person("evil.una", "a password for tests")
    Tenant.objects.filter(slug="alpha").update(name=SHORT)
    with in_tenant("alpha"):
        _superuser(person)
        actor = Actor("agent", SHORT, label=SHORT)
        category = forums.category.make(slug="evil", name=SHORT)
        thread = forums.thread.make(category=category, title=SHORT, external_id=SHORT)
        for text in (HOSTILE, *HIDDEN, *MARKUP):
            if "\x00" not in text:
                forums.post.make(thread=thread, content=text, author_id=SHORT, author_label=SHORT)
        post = Post.objects.all()[0]
        hide = {"post_id": str(post.pk)}
        options = {
            "actor": actor,
            "reason": HOSTILE + OVERRIDE,
            "correlation_id": SHORT,
            "metadata": {SHORT: HOSTILE},
        }
        run(ask("forum.post.hide", hide, idempotency_key=SHORT, **options).directive)
        run(ask("zoo.animal.refuse", {"animal": MARKUP[0], "note": OVERRIDE}, **options).directive)
        ask("forum.thread.lock", {"thread_id": str(thread.pk)}, **options)
        subject = Subject("forum.thread", str(thread.pk))
        bus.emit(
            "forum.thread.seen",
            {SHORT: [HOSTILE, *HIDDEN]},
            dedupe_key=SHORT,
            actor=actor,
            subject=subject,
            source=SHORT,
        )
    olga = Person("evil.olga", "a password for tests")
    _superuser(olga)
    yield person, olga
    Tenant.objects.filter(slug="alpha").update(name="Alpha")


def _superuser(person):
    fields = {"username": person.username, "first_name": MARKUP[0], "last_name": OVERRIDE}
    accounts.with_password(accounts.superuser, person.password, **fields)


def visit(page, address):
    """Open a page and check that it shows hostile texts as texts."""
    page.goto(address)
    assert page.evaluate("window.pwned") is None, address
    assert page.evaluate(HANDLERS) == [], address
    return page.locator("body").inner_text()


def test_no_script_runs_and_nothing_hides_in_the_admin(page, evil, problems):
    page.on("dialog", lambda dialog: problems.found.append(f"dialog: {dialog.message}"))
    enter(page, "alpha.localhost", evil[0])
    with in_tenant("alpha"):
        addresses = {name: find() for name, find in PAGES.items()}
        posts = [str(one.pk) for one in Post.objects.all()]
    addresses["accounts"] = "/admin/auth/user/"
    addresses["log"] = "/admin/admin/logentry/"
    addresses["hostile search"] = "/admin/forums/post/?q=%3Cscript%3Ewindow.pwned%3D1%3C/script%3E%E2%80%AE"
    addresses["hostile filter"] = (
        "/admin/directives/directive/?actor=agent:%22%3E%3Cimg%20src=x%20onerror=window.pwned=1%3E"
    )
    seen = {name: visit(page, f"http://alpha.localhost{address}") for name, address in addresses.items()}
    for name, text in seen.items():
        assert visible(text) == text, name
    for name in ("thread", "post", "directive", "signal", "history", "posts", "threads"):
        assert "annexe⟨U+202E⟩txt.exe" in seen[name], name
    page.goto(
        f"http://alpha.localhost/admin/directives/directive/request/forum.post.hide/?subjects={','.join(posts)}"
    )
    page.get_by_label("Reason").fill(HOSTILE + OVERRIDE)
    page.locator("button[value=dry_run]").click()
    assert page.evaluate("window.pwned") is None
    # What goes back to the server has to be what was typed.
    assert page.get_by_label("Reason").input_value() == HOSTILE + OVERRIDE
    page.goto("http://alpha.localhost/admin/directives/directive/request/forum.thread.lock/")
    page.locator(".select2-selection").click()
    expect(page.get_by_role("option").filter(has_text="annexe⟨U+202E⟩txt.exe")).to_be_visible()
    assert page.evaluate("window.pwned") is None


def test_no_script_runs_at_the_operators(page, evil):
    enter(page, "localhost", evil[1])
    for path in ("", "tenants/tenant/", "tenants/domain/", "auth/user/"):
        text = visit(page, f"http://localhost/admin/{path}")
        assert visible(text) == text


def test_no_script_runs_in_the_forum_and_texts_disguise_only_themselves(page, evil):
    with in_tenant("alpha"):
        thread = Thread.objects.all()[0]
    for path in ("/", f"/threads/{thread.pk}/"):
        assert "annexe" in visit(page, f"http://alpha.localhost{path}")
    isolated = page.locator(".meta strong").first
    assert isolated.evaluate("element => getComputedStyle(element).unicodeBidi") == "isolate"


def test_what_a_page_is_made_to_load_or_run_is_refused(page, evil, problems):
    """The policy is the second wall: it holds where the first one, escaping, had a hole."""
    for address in ("http://alpha.localhost/admin/login/", "http://alpha.localhost/"):
        page.goto(address)
        page.evaluate("""() => {
            const add = (tag, what) =>
                document.body.append(Object.assign(document.createElement(tag), what));
            document.body.insertAdjacentHTML('beforeend', '<img src="data:x" onerror="window.pwned = 1">');
            add('script', {text: 'window.pwned = 2'});
            add('script', {src: '//evil.example/x.js'});
            add('iframe', {src: '/'});
        }""")
        page.wait_for_timeout(300)
        assert page.evaluate("window.pwned") is None
    refused = "\n".join(problems.found)
    problems.found.clear()
    assert refused.count("Content Security Policy") >= 6
    assert "evil.example" in refused
