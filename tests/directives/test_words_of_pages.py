"""Headings, titles, breadcrumbs and ages on the admin's pages."""

import re
from datetime import timedelta

import pytest
from django.template import Context, Template
from django.utils import timezone

from directives import registry
from directives.display import labels
from directives.handlers import DirectivePayload, Handler
from fleetprompt.tenants.context import in_tenant
from forums.models import Thread
from tests.admin import AdminClient, client_of
from tests.support import ask, make_forum


@pytest.fixture
def boss(database) -> AdminClient:
    with in_tenant("alpha"):
        make_forum(55)
    return client_of("boss", superuser=True)


@pytest.mark.parametrize(
    ("name", "count", "text"),
    [
        ("forum.post.hide", 1, "Hide 1 post"),
        ("forum.post.hide", 20, "Hide 20 posts"),
        ("forum.post.hide", 1204, "Hide 1,204 posts"),
        ("forum.thread.lock", 2, "Lock 2 threads"),
        ("forum.post.create", 1, "Create post for 1 thread"),
        ("forum.post.create", 2, "Create post for 2 threads"),
        ("zoo.animal.work", 1, "Work"),
        ("no.such.directive", 3, "no.such.directive, 3 times"),
    ],
)
def test_a_label_is_counted_as_people_say_it(name, count, text):
    assert labels.counted_label(name, count) == text


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("Pin a post", "Pin 3 posts"),
        ("Send the Post away", "Send 3 posts away"),
        ("Merge posts", "Merge 3 posts"),
        ("Postpone", "Postpone for 3 posts"),
        ("Hide post \\1", "Hide 3 posts \\1"),
    ],
)
def test_any_label_can_be_counted(monkeypatch, label, text):
    class Odd(Handler[DirectivePayload]):
        name = "odd"
        Payload = DirectivePayload
        subject_type = "forum.post"

    Odd.label = label
    monkeypatch.setattr(registry, "find", lambda name: Odd())
    assert labels.counted_label("odd", 3) == text


def trail_of(page):
    """Return the texts of a page's trail."""
    found = re.search(r'aria-label="Breadcrumbs">(.*?)</nav>', page, re.DOTALL)
    return re.findall(r"<a .*?>(.*?)</a>", found[1]) if found else []


def heading_of(page):
    """Return the text of a page's only main heading."""
    [found] = re.findall(r"<h1.*?>(.*?)</h1>", page, re.DOTALL)
    return re.sub(r"<.*?>", "", found)


def test_lists_are_called_by_what_they_list(boss):
    for path, name, trail in (
        ("forums/post/", "Posts", ["Forums"]),
        ("directives/directive/", "Directives", []),
        ("signals/signal/", "Signals", []),
        ("auth/user/", "Users", ["Authentication and Authorization"]),
    ):
        page = boss.text(path)
        assert re.search(r"<title>\s*(.*?)\s*</title>", page)[1] == f"{name} | Alpha"
        assert (heading_of(page), trail_of(page)) == (name, trail)


def test_the_operators_lists_are_too(database):
    page = client_of("boss", "", superuser=True).text("tenants/tenant/")
    assert "Select tenant to change" not in page
    assert heading_of(page) == "Tenants"


def test_no_page_of_a_directive_has_one_name_twice_in_its_trail(boss):
    with in_tenant("alpha"):
        thread = Thread.objects.get()
        lock = ask("forum.thread.lock", {"thread_id": str(thread.pk)}, correlation_id="some-batch")
    for path, heading in (
        (f"directives/directive/{lock.directive.pk}/change/", "Lock thread"),
        ("directives/directive/batch/some-batch/", "Lock 1 thread"),
        ("directives/directive/request/", "Request directive"),
        ("directives/directive/request/forum.post.create/", "Create post"),
        (f"directives/directive/operate/run_now/?id={lock.directive.pk}", "Run 1 directive now"),
    ):
        page = boss.get(f"/admin/{path}").content.decode()
        assert (heading_of(page), trail_of(page)) == (heading, ["Directives"])


def test_a_history_leads_to_its_record_and_to_the_list(boss):
    with in_tenant("alpha"):
        thread = Thread.objects.get()
    page = boss.text(f"forums/thread/{thread.pk}/history/")
    assert trail_of(page) == ["Forums", "Threads", "Welcome"]
    assert heading_of(page) == "History of Welcome"


def test_the_number_of_rows_stands_apart_from_the_pages(boss):
    page = boss.text("forums/post/")
    [foot] = re.findall(
        r'<div class="py-4">([^<]*)</div>\s*<nav class="fp-pages" aria-label="Pages">', page
    )
    assert foot == "55 posts"


@pytest.mark.parametrize(
    ("age", "text"),
    [
        (timedelta(0), "now"),
        (timedelta(milliseconds=22), "now"),
        (timedelta(milliseconds=500), "now"),
        (timedelta(seconds=4.4), "4 s ago"),
        (timedelta(seconds=59.2), "59 s ago"),
        (timedelta(minutes=3), "3 min ago"),
        (timedelta(hours=30), "1 d ago"),
        (-timedelta(seconds=30.8), "in 30 s"),
        (-timedelta(hours=2, seconds=1), "in 2 h"),
    ],
)
def test_ages_are_in_whole_seconds_at_least(age, text):
    template = Template("{% load moments %}{{ at|ago }}")
    shown = template.render(Context({"at": timezone.now() - age}))
    assert re.sub(r"<.*?>", "", shown) == text
    assert abs(float(re.search(r'data-age="(.*?)"', shown)[1]) - age.total_seconds()) < 0.5
