"""Pages that follow directives: until they end, and without a cluster."""

from contextlib import contextmanager
from uuid import uuid4

import pytest
from django.db import connection

from directives.models import Directive
from fleetprompt.tenants.context import in_tenant
from tests.admin import client_of
from tests.support import ask, ask_animal, claim, expire_lease, in_threads, make_forum, qcluster, run

OPERATE = "/admin/directives/directive/operate/"
NONE = "No cluster is running"


@pytest.fixture
def root(database):
    return client_of("root", superuser=True)


def part(client, url):
    """Return what a page gives to the element that loads itself again."""
    answer = client.get(url, headers={"hx-request": "true"})
    assert answer.status_code == 200
    assert "<html" not in answer.content.decode()
    return answer.content.decode()


def test_the_result_of_a_rerun_follows_it_to_its_next_failure(root):
    with in_tenant("alpha"):
        directive = ask_animal("refuse")
        run(directive)
    fields = {"_selected_action": str(directive.pk), "token": str(uuid4()), "reason": "Again"}
    url = root.post(f"{OPERATE}rerun/", fields).headers["Location"]
    page = root.get(url).content.decode()
    assert "every 1s" in page
    with in_tenant("alpha"):
        claim(directive)
    running = part(root, url)
    assert "Running" in running
    assert "hx-get" in running
    with in_tenant("alpha"):
        expire_lease(directive)
        run(directive)
    ended = part(root, url)
    assert "Running" not in ended
    assert "Failed" in ended
    assert "hx-get" not in ended


@contextmanager
def ending_after(number, directive):
    """Run a directive in another session as soon as a page has read directives so many times."""
    reads = 0

    def look(execute, sql, *arguments):
        nonlocal reads
        found = execute(sql, *arguments)
        reads += 'FROM "directives_directive"' in sql
        if reads == number:
            reads += 1
            in_threads(lambda: run(directive))
        return found

    with connection.execute_wrapper(look):
        yield


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("of", ["its undo", "itself", "its batch"])
def test_a_page_follows_on_what_ends_while_it_is_made(root, of, number):
    with in_tenant("alpha"):
        hide = ask("forum.post.hide", {"post_id": str(make_forum().posts[0].pk)}).directive
        run(hide)
    fields = {"_selected_action": str(hide.pk), "token": str(uuid4()), "reason": "A mistake"}
    url = root.post(f"{OPERATE}undo/", fields).headers["Location"]
    with in_tenant("alpha"):
        end = Directive.objects.get(name="restriction.end")
    if of == "itself":
        url = f"/admin/directives/directive/{end.pk}/change/"
    elif of == "its batch":
        url = f"/admin/directives/directive/batch/{end.correlation_id}/"
    with ending_after(number, end):
        page = root.get(url).content.decode()
    shows_the_end = {"its undo": "Undone", "itself": "directive.succeeded", "its batch": "Done: 1 of 1"}[of]
    assert shows_the_end in page or 'hx-trigger="every' in page


def test_what_ended_or_waits_for_long_is_not_looked_at_every_second(root):
    with in_tenant("alpha"):
        directive = ask_animal("work")
    fields = {"_selected_action": str(directive.pk), "token": str(uuid4()), "reason": "Later"}
    url = root.post(f"{OPERATE}snooze/", {**fields, "until": "1h"}).headers["Location"]
    assert "every 10s" in root.get(url).content.decode()
    url = root.post(f"{OPERATE}cancel/", {**fields, "token": str(uuid4())}).headers["Location"]
    assert 'hx-trigger="every' not in root.get(url).content.decode()


def test_pages_of_what_is_to_run_say_at_once_that_no_cluster_runs(root):
    with in_tenant("alpha"):
        post = make_forum().posts[0]
        batch = str(uuid4())
        hide = ask("forum.post.hide", {"post_id": str(post.pk)}, correlation_id=batch).directive
    batch_url = f"/admin/directives/directive/batch/{batch}/"
    one_url = f"/admin/directives/directive/{hide.pk}/change/"
    for url in (batch_url, one_url):
        page = root.get(url).content.decode()
        assert NONE in page
        assert "manage.py cluster" in page
    assert NONE in part(root, batch_url)
    with in_tenant("alpha"):
        run(hide)
    for url in (batch_url, one_url):
        assert NONE not in root.get(url).content.decode()


def test_nothing_of_the_kind_is_said_while_a_cluster_runs(root, tmp_path):
    with in_tenant("alpha"):
        batch = str(uuid4())
        directive = claim(ask_animal("work", correlation_id=batch))
    url = f"directives/directive/{directive.pk}/live/"
    seen = root.get(f"/admin/directives/directive/{directive.pk}/change/").context["version"]
    assert root.get(f"/admin/{url}", {"seen": seen}).status_code == 204
    with qcluster(tmp_path / "cluster.log"):
        assert NONE not in root.text(f"directives/directive/batch/{batch}/")
        changed = root.get(f"/admin/{url}", {"seen": seen})
        assert changed.status_code == 200, "the page hears that there is one now"
        assert NONE not in changed.content.decode()
