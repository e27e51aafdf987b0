"""Links back in the admin: lists keep search, filters and page, and each POST is answered by a redirect."""

import re
from html import unescape
from urllib.parse import parse_qs, quote, urlsplit
from uuid import uuid4

import pytest

from directives.models import Directive
from fleetprompt.tenants.context import in_tenant
from fleetprompt.web import kept_forms
from tests.admin import AdminClient, client_of
from tests.support import ask, make_forum, run

POSTS = "/admin/forums/post/"
NARROWED = f"{POSTS}?q=Post&status__exact=published&p=2"
LIST = "/admin/directives/directive/"
HIDE = f"{LIST}request/forum.post.hide/"
SNOOZE = f"{LIST}operate/snooze/"
SELECTED = "_selected_action"


@pytest.fixture
def forum(database):
    with in_tenant("alpha"):
        return make_forum(60)


@pytest.fixture
def mira(database):
    return client_of("mira", group="Moderator")


def links(page):
    """Return the addresses of a page's links, by text."""
    found = re.findall(r'<a [^>]*href="([^"]*)"[^>]*>(.*?)</a>', page.content.decode(), re.DOTALL)
    texts = [(re.sub(r"<span class=\"material.*?</span>|<.*?>", "", text), url) for url, text in found]
    return {" ".join(text.split()): unescape(url) for text, url in texts}


def hidden_fields(page):
    """Return what a form of the page carries by itself."""
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.content.decode())
    return {name: unescape(value) for name, value in found}


def choose(client, url, action, *records):
    """Run an action of a list; return the page that the answer leads to."""
    answer = client.post(
        url, {"action": action, "index": "0", SELECTED: [str(record.pk) for record in records]}
    )
    assert answer.status_code == 302
    return client.get(answer["Location"])


def filled_in(page, **fields):
    """Return a question's fields with what a person fills in."""
    return {**hidden_fields(page), "reason": "Spam", "when": "now", "confirm": "request", **fields}


def test_the_way_back_from_a_request_leads_to_the_list_as_it_was(mira, forum):
    question = choose(mira, NARROWED, "request:forum.post.hide", *forum.posts[:2])
    assert links(question)["Back to the list"] == f"{NARROWED}#ticked"
    wrong = mira.post(HIDE, filled_in(question, reason=""), follow=True)
    assert links(wrong)["Back to the list"] == f"{NARROWED}#ticked"
    tried = mira.post(HIDE, filled_in(wrong, confirm="dry_run"), follow=True)
    assert links(tried)["Back to the list"] == f"{NARROWED}#ticked"
    batch = mira.post(HIDE, filled_in(tried), follow=True)
    assert "/batch/" in batch.redirect_chain[-1][0]
    assert links(batch)["Back to the list"] == NARROWED


def test_the_way_back_from_an_operation_leads_to_the_list_as_it_was(mira, forum):
    with in_tenant("alpha"):
        locks = [
            ask(f"forum.thread.{verb}", {"thread_id": str(forum.thread.pk)}).directive
            for verb in ("lock", "unlock")
        ]
    narrowed = f"{LIST}?status=requested&q=forum.thread"
    question = choose(mira, narrowed, "snooze", *locks)
    assert links(question)["Back to the list"] == f"{narrowed}#ticked"
    data = {**filled_in(question, until="1h"), SELECTED: [str(lock.pk) for lock in locks]}
    wrong = mira.post(SNOOZE, {**data, "reason": ""}, follow=True)
    assert links(wrong)["Back to the list"] == f"{narrowed}#ticked"
    done = mira.post(SNOOZE, data, follow=True)
    assert links(done)["Back to the list"] == narrowed


def test_records_of_a_list_lead_back_to_it_as_it_was(mira, forum):
    with in_tenant("alpha"):
        hide = run(ask("forum.post.hide", {"post_id": str(forum.posts[0].pk)}).directive)
    filters = quote("status=succeeded", safe="")
    page = mira.get(f"{LIST}{hide.directive_id}/change/?_changelist_filters={filters}")
    [crumb] = re.findall(r'aria-label="Breadcrumbs">(.*?)</nav>', page.content.decode(), re.DOTALL)
    assert re.findall(r'href="(.*?)"', crumb) == [f"{LIST}?status=succeeded"]
    undo = mira.get(links(page)["Undo"], follow=True)
    assert links(undo)["Back"].startswith(
        f"{LIST}{hide.directive_id}/change/?_changelist_filters={filters}"
    )
    filters = quote("q=Post", safe="")
    page = mira.get(f"{POSTS}{forum.posts[1].pk}/change/?_changelist_filters={filters}")
    [crumb] = re.findall(r'aria-label="Breadcrumbs">(.*?)</nav>', page.content.decode(), re.DOTALL)
    assert re.findall(r'href="(.*?)"', crumb) == ["/admin/forums/", f"{POSTS}?q=Post"]
    request = mira.get(links(page)["Hide post"])
    assert (
        links(request)["Back"] == f"{POSTS}{forum.posts[1].pk}/change/?_changelist_filters={filters}#ticked"
    )


def test_the_part_of_a_directives_page_that_loads_itself_again_keeps_the_way_back(mira, forum):
    with in_tenant("alpha"):
        hide = ask("forum.post.hide", {"post_id": str(forum.posts[0].pk)}).directive
    page = mira.get(f"{LIST}{hide.pk}/change/?_changelist_filters=status%3Drequested%26q%3Da")
    [url] = re.findall(r'hx-get="(.*?)"', page.content.decode())
    part = mira.get(unescape(url).replace("seen=", "seen=x"), headers={"hx-request": "true"})
    assert part.status_code == 200
    for shown in (page, part):
        [back] = parse_qs(urlsplit(links(shown)["Snooze"]).query)["back"]
        assert back == f"{LIST}{hide.pk}/change/?_changelist_filters=status%3Drequested%26q%3Da"


@pytest.mark.parametrize(
    "back",
    [
        "https://evil.example/admin/",
        "//evil.example/admin/",
        "/\\evil.example/admin/",
        "javascript:alert(1)",
        "/admin/../",
        "/admin/forums/post/../../../",
        "/elsewhere/",
        "/healthz",
        "admin/",
        "/admin/?" + "x" * 2000,
        '/admin/"><script>alert(1)</script>',
    ],
)
def test_a_way_back_leads_nowhere_else(mira, forum, back):
    url = f"{HIDE}?subjects={forum.posts[0].pk}&back={quote(back, safe='')}"
    page = mira.get(url)
    assert page.status_code == 200
    assert "<script>alert" not in page.content.decode()
    way = {text: url for text, url in links(page).items() if text.startswith("Back")}
    assert way == {"Back to the list": f"{POSTS}#ticked"}
    answer = mira.post(HIDE, filled_in(page, back=back))
    assert urlsplit(answer["Location"]).path.startswith(f"{LIST}batch/")
    assert urlsplit(answer["Location"]).query == ""


POSTED = [
    "list",
    "list, nothing chosen",
    "list, all",
    "form with errors",
    "dry run",
    "dry run with errors",
    "nothing asked for",
    "operation from the list",
    "operation with errors",
    "the rest of an operation",
]


def posts_of(forum):
    """Return every POST of the pages of directives that does nothing yet, with what is posted."""
    ids = [str(post.pk) for post in forum.posts[:3]]
    with in_tenant("alpha"):
        lock = str(ask("forum.thread.lock", {"thread_id": str(forum.thread.pk)}).directive.pk)
    fields = {"subjects": ",".join(ids), "batch": str(uuid4()), "reason": "x", "when": "now"}
    return {
        "list": (POSTS, {"action": "request:forum.post.hide", "index": "0", SELECTED: ids}),
        "list, nothing chosen": (POSTS, {"action": "request:forum.post.hide", "index": "0"}),
        "list, all": (
            POSTS,
            {"action": "request:forum.post.hide", "index": "0", SELECTED: ids, "select_across": "1"},
        ),
        "form with errors": (HIDE, {**fields, "reason": "", "confirm": "request"}),
        "dry run": (HIDE, {**fields, "confirm": "dry_run"}),
        "dry run with errors": (HIDE, {**fields, "reason": "", "confirm": "dry_run"}),
        "nothing asked for": (HIDE, fields),
        "operation from the list": (LIST, {"action": "snooze", "index": "0", SELECTED: [lock]}),
        "operation with errors": (SNOOZE, {SELECTED: [lock], "token": str(uuid4()), "until": "1h"}),
        "the rest of an operation": (SNOOZE, {SELECTED: [lock], "reason": "x", "ask": "1"}),
    }


@pytest.mark.parametrize("name", POSTED)
def test_no_answer_to_a_post_is_a_page(mira, forum, name):
    url, data = posts_of(forum)[name]
    with in_tenant("alpha"):
        before = list(Directive.objects.values())
    answer = mira.post(url, data)
    assert answer.status_code == 302
    first, again = mira.get(answer["Location"]), mira.get(answer["Location"])
    assert first.status_code == again.status_code == 200
    with in_tenant("alpha"):
        assert list(Directive.objects.values()) == before


def test_a_selection_of_thousands_is_kept_on_the_server(mira, forum):
    answer = mira.post(
        POSTS,
        {
            "action": "request:forum.post.hide",
            "index": "0",
            SELECTED: [str(post.pk) for post in forum.posts],
        },
    )
    assert len(answer["Location"]) < 200
    page = mira.get(answer["Location"])
    assert "Hide 60 posts" in page.content.decode()
    assert hidden_fields(page)["subjects"].count(",") == 59


def test_what_is_kept_is_one_users_and_one_pages(mira, forum):
    url = mira.post(HIDE, {"subjects": str(forum.posts[0].pk), "reason": "A secret", "confirm": "dry_run"})[
        "Location"
    ]
    assert "A secret" in mira.get(url).content.decode()
    olga = client_of("olga", superuser=True)
    query = urlsplit(url).query
    for client, address in (
        (olga, url),
        (mira, f"{LIST}request/forum.post.unhide/?{query}"),
        (mira, f"{SNOOZE}?{query}"),
        (mira, f"{HIDE}?kept=x"),
        (mira, f"{HIDE}?kept=%01"),
        (mira, f"{HIDE}?kept={'x' * 5000}"),
    ):
        page = client.get(address, follow=True)
        assert "kept for an hour, for you alone" in page.content.decode()
        assert "A secret" not in page.content.decode()
    with in_tenant("beta"):
        make_forum()
    other = client_of("mira", "beta", group="Moderator")
    assert "A secret" not in other.get(url, follow=True).content.decode()


def test_a_user_fills_the_cache_only_so_far(mira, forum, monkeypatch):
    monkeypatch.setattr(kept_forms, "MAX_PER_USER", 3)
    urls = [keep(mira, forum, number) for number in range(5)]
    assert are_kept(mira, urls) == [False, False, True, True, True]


def test_the_forms_of_a_user_take_only_so_much_of_the_cache(mira, forum):
    urls = [keep(mira, forum, number, "x" * 1_900_000) for number in range(4)]
    assert are_kept(mira, urls) == [False, False, True, True]


def test_the_newest_form_of_a_user_is_kept_however_large(mira, forum, monkeypatch):
    monkeypatch.setattr(kept_forms, "MAX_BYTES_PER_USER", 100)
    urls = [keep(mira, forum, number, "x" * 200) for number in range(2)]
    assert are_kept(mira, urls) == [False, True]


def test_what_was_sent_after_the_end_of_a_session_counts_too(mira, forum, monkeypatch):
    monkeypatch.setattr(kept_forms, "MAX_PER_USER", 2)
    fields = {"form_owner": owner_of(mira), "reason": "x"}
    urls = [keep(mira, forum, 0)]
    for _ in range(2):
        assert AdminClient().post(HIDE, fields).status_code == 302
    assert are_kept(mira, urls) == [False]


def owner_of(client):
    page = client.get(HIDE).content.decode()
    return re.search(r'name="form_owner" value="([^"]*)"', page)[1]


def keep(client, forum, number, text=""):
    """Submit a form that is not valid, with a field that nothing reads; return where it is shown again."""
    fields = {"subjects": str(forum.posts[0].pk), "confirm": "request", "ignored": text}
    return client.post(HIDE, {**fields, "reason": f"Reason number {number}"})["Location"]


def are_kept(client, urls):
    pages = [client.get(url, follow=True).content.decode() for url in urls]
    return [f"Reason number {number}" in page for number, page in enumerate(pages)]
