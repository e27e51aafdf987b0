"""What was erased is shown as erased, wherever its text was shown."""

import json

import pytest

from directives import operations
from directives.lifecycle.erasing import erase
from directives.models import Directive, Restriction
from directives.requests import request_many
from fleetprompt.tenants.context import in_tenant
from forums.models import Post
from tests.admin import AdminClient, client_of
from tests.directives.commands import directive as command
from tests.support import TESTER, ask, make_forum, run

REASON = "Gives quokka street 7 away"
TEXT = "No addresses, please"


@pytest.fixture
def hidden(database):
    """A hidden post, and the directive that hid it, requested with another one."""
    with in_tenant("alpha"):
        posts = make_forum().posts
        payloads = [{"post_id": str(post.pk), "public_text": TEXT} for post in posts[:2]]
        items = [("forum.post.hide", payload) for payload in payloads]
        first, second = request_many(items, actor=TESTER, reason=REASON, correlation_id="c")
        run(first.directive)
        run(second.directive)
        yield first.directive


def pages(directive: Directive) -> dict[str, str]:
    """Return where the reason of a directive is shown in the admin."""
    post = f"/admin/forums/post/{directive.subject_id}"
    restriction = Restriction.objects.get(directive_id=directive.pk)
    return {
        "list": "/admin/directives/directive/",
        "directive": f"/admin/directives/directive/{directive.pk}/change/",
        "batch": "/admin/directives/directive/batch/c/",
        "post": f"{post}/change/",
        "history": f"{post}/history/",
        "restriction": f"/admin/directives/directive/request/restriction.end/?restriction={restriction.pk}",
        "signals": "/admin/signals/signal/",
    }


def read(client: AdminClient, url: str) -> str:
    answer = client.get(url)
    assert answer.status_code == 200
    return answer.content.decode()


def test_pages_show_that_a_text_was_erased(hidden):
    ada = client_of("ada", superuser=True)
    with in_tenant("alpha"):
        urls = pages(hidden)
        ids = list(Directive.objects.values_list("pk", flat=True))
    for name, url in urls.items():
        page = read(ada, url)
        assert REASON in page, name
        assert "erased" not in page, name
    with in_tenant("alpha"):
        erase(ids)
    for name, url in urls.items():
        page = read(ada, url)
        assert REASON not in page, name
        assert TEXT not in page, name
        assert "erased" in page, name


def test_a_form_about_what_was_erased_has_no_text_in_it(hidden):
    ada = client_of("ada", superuser=True)
    with in_tenant("alpha"):
        url = pages(hidden)["restriction"]
        erase([hidden.pk])
    questions = [url, f"/admin/directives/directive/operate/undo/?id={hidden.pk}"]
    for page in (read(ada, question) for question in questions):
        assert not [line for line in page.splitlines() if "erased" in line and "value=" in line]
        assert "erased</textarea>" not in page


def test_commands_print_that_a_text_was_erased(hidden):
    shown = command("show", hidden.pk).printed
    assert shown["directive"]["reason"] == REASON
    assert shown["directive"]["payload"]["public_text"] == TEXT
    assert "personal" not in json.dumps(shown)
    erase([hidden.pk])
    shown = command("show", hidden.pk).printed
    assert shown["directive"]["reason"] == shown["directive"]["payload"]["public_text"] == "erased"
    assert {one["payload"].get("reason", "erased") for one in shown["timeline"]} == {"erased"}
    assert REASON not in json.dumps(command("list").printed[-1])


def test_an_undo_names_the_change_that_was_erased(hidden):
    post = {"post_id": hidden.subject_id}
    lift = ask("forum.post.unhide", post, reason="no address in it").directive
    run(lift)
    again = ask("forum.post.hide", post, reason=REASON).directive
    run(again)
    erase([again.pk])
    ada = client_of("ada", superuser=True)
    page = read(ada, f"/admin/directives/directive/operate/undo/?id={lift.pk}")
    assert "“Hide post”: “erased”" in page
    with in_tenant("alpha"):
        operations.undo(again.pk, actor=TESTER, reason="after all")
        assert Post.objects.get(pk=hidden.subject_id).status == "hidden"
