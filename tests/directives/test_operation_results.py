"""Results page of an operation, after its web process died or during a concurrent operation."""

import http.client
import os
import signal
from contextlib import suppress
from threading import Thread
from urllib.parse import urlencode
from uuid import uuid4

import psutil
import pytest

from directives import operations
from directives.admin import performing
from directives.models import Directive
from directives.requests import DirectiveRequest, request_many
from fleetprompt.tenants.context import in_tenant
from signals.models import Signal
from tests.admin import client_of
from tests.browser.web import web_server
from tests.support import TESTER, ask_animal, begun, gate, meanwhile, run, wait_until

LIST = "/admin/directives/directive/"
MANY = 500


def fields(ids, **extra):
    """Return what the question's form submits."""
    return {
        "token": str(uuid4()),
        "reason": "a mistake",
        "_selected_action": [str(pk) for pk in ids],
        **extra,
    }


def answer(client, slug, data):
    """Submit a question's form and return the page that it leads to."""
    response = client.post(f"{LIST}operate/{slug}/", data)
    assert response.status_code == 302, response.content.decode()
    return client.get(response["Location"])


def outcomes(page):
    """Return what the page says of each directive."""
    return {result.directive_id: (result.word, result.by) for result, _ in page.context["rows"]}


def canceled():
    return Directive.objects.filter(status="canceled").count()


def kill_server(port):
    """Kill the web server that listens on the port, as the machine does when memory is short."""
    for process in psutil.Process().children():
        with suppress(psutil.Error):
            if f"127.0.0.1:{port}" in process.cmdline():
                os.kill(process.pid, signal.SIGKILL)


def post_for_real(port, client, path, data):
    """Post a form to a web server in the name of a logged-in client, whatever becomes of the answer."""
    secret = "x" * 32
    cookies = f"sessionid={client.cookies['sessionid'].value}; csrftoken={secret}"
    body = urlencode({**data, "csrfmiddlewaretoken": secret}, doseq=True)
    headers = {
        "Host": "alpha.localhost",
        "Cookie": cookies,
        "Content-Type": "application/x-www-form-urlencoded",
    }
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with suppress(OSError, http.client.HTTPException):
        connection.request("POST", path, body, headers)
        connection.getresponse().read()


@pytest.mark.long
def test_a_killed_web_process_leaves_what_it_did_and_a_way_to_do_the_rest(database, tmp_path):
    client = client_of("root", superuser=True)
    with in_tenant("alpha"):
        items = [DirectiveRequest("zoo.animal.work", {"animal": f"a{n}"}) for n in range(MANY)]
        ids = [asked.directive.pk for asked in request_many(items, actor=TESTER)]
    data = fields(ids)
    with web_server(tmp_path / "web.log") as port:
        submitting = Thread(
            target=post_for_real, args=[port, client, f"{LIST}operate/cancel/", data], daemon=True
        )
        submitting.start()
        with in_tenant("alpha"):
            wait_until(lambda: canceled() >= 50, "the operation is at work")
        kill_server(port)
        submitting.join(30)
    with in_tenant("alpha"):
        done = canceled()
    assert 50 <= done < MANY

    def stopped():
        # A second submit of the same form leads to the page of the first one.
        page = answer(client, "cancel", data)
        return page if "stopped before its end" in page.content.decode() else None

    page = wait_until(stopped, "the page says that the operation stopped", 25)
    text = page.content.decode()
    assert f"{MANY - done} of {MANY} were not touched" in text
    assert "being done" not in text
    assert outcomes(page) == dict.fromkeys(outcomes(page), ("Canceled", ""))
    assert len(outcomes(page)) == done
    left = page.context["left"]
    assert set(left) == set(ids) - set(outcomes(page))

    again = {"ask": "1", "reason": "a mistake", "_selected_action": [str(pk) for pk in left]}
    question = client.post(f"{LIST}operate/cancel/", again, follow=True)
    assert question.status_code == 200
    assert f"Cancel {MANY - done} directives" in question.content.decode()
    assert question.context["form"]["reason"].value() == "a mistake"
    rest = answer(client, "cancel", fields(left))
    assert {word for word, _ in outcomes(rest).values()} == {"Canceled"}
    with in_tenant("alpha"):
        assert canceled() == MANY
        assert Signal.objects.filter(name="directive.canceled").count() == MANY


def test_an_operation_that_breaks_is_not_at_work_for_an_hour(database, monkeypatch):
    client = client_of("root", superuser=True)
    client.raise_request_exception = False
    with in_tenant("alpha"):
        ids = [ask_animal("work", animal=str(number)).pk for number in range(3)]
    real = operations.snooze
    monkeypatch.setattr("directives.admin.submissions.LEASE_SECONDS", 1)
    monkeypatch.setattr(
        "directives.operations.snooze",
        lambda pk, *args, **options: 1 / 0 if pk == ids[1] else real(pk, *args, **options),
    )
    data = fields(ids, until="1h")
    assert client.post(f"{LIST}operate/snooze/", data).status_code == 500
    page = wait_until(
        lambda: (page := answer(client, "snooze", data)) and page.context["left"] and page, "it has stopped"
    )
    assert outcomes(page) == {ids[0]: ("Snoozed", "")}
    assert page.context["left"] == ids[1:]


def test_run_now_says_who_canceled_meanwhile(database):
    ann, bob = client_of("ann", superuser=True), client_of("bob", superuser=True)
    with in_tenant("alpha"):
        first = ask_animal("wait", note="door", times=1)
        others = [ask_animal("work", animal=f"a{number}") for number in range(5)]
    ids = [first.pk, *(other.pk for other in others)]
    with (
        gate("door") as open_the_door,
        meanwhile(lambda: answer(ann, "run_now", fields(ids))) as pages,
    ):
        with in_tenant("alpha"):
            wait_until(lambda: begun(first), "the first one runs")
        found = outcomes(answer(bob, "cancel", fields(ids)))
        assert found[first.pk] == ("Not possible", "ann had it run now.")
        assert {found[other.pk] for other in others} == {("Canceled", "")}
        open_the_door()
    found = outcomes(pages[0])
    assert found[first.pk] == ("Succeeded", "")
    assert {found[other.pk] for other in others} == {("Canceled", "bob canceled it.")}
    assert "bob canceled it." in pages[0].content.decode()
    assert "Left to the cluster" not in pages[0].content.decode()


def test_what_was_left_to_the_cluster_says_what_became_of_it(database, monkeypatch):
    monkeypatch.setattr(performing, "RUNNING_SECONDS", 0)
    ann, bob = client_of("ann", superuser=True), client_of("bob", superuser=True)
    names = ("waits", "canceled", "snoozed", "ran", "failed")
    with in_tenant("alpha"):
        made = {name: ask_animal("refuse" if name == "failed" else "work", animal=name) for name in names}
    data = fields([directive.pk for directive in made.values()])
    page = answer(ann, "run_now", data)
    assert {word for word, _ in outcomes(page).values()} == {"Left to the cluster"}
    answer(bob, "cancel", fields([made["canceled"].pk]))
    answer(bob, "snooze", fields([made["snoozed"].pk], until="1h"))
    with in_tenant("alpha"):
        run(made["ran"])
        run(made["failed"])
    found = outcomes(answer(ann, "run_now", data))
    assert {name: found[made[name].pk] for name in names} == {
        "waits": ("Left to the cluster", ""),
        "canceled": ("Canceled", "bob canceled it."),
        "snoozed": ("Snoozed", "bob snoozed it."),
        "ran": ("Succeeded", "ann had it run now."),
        "failed": ("Failed", "ann had it run now."),
    }


@pytest.mark.parametrize(
    ("first", "then", "by"),
    [
        ("cancel", "cancel", "bob canceled it."),
        ("cancel", "snooze", "bob canceled it."),
        ("run_now", "cancel", "bob had it run now."),
        ("run_now", "snooze", "bob had it run now."),
    ],
)
def test_what_is_not_possible_any_more_says_who_was_first(database, first, then, by):
    ann, bob = client_of("ann", superuser=True), client_of("bob", superuser=True)
    with in_tenant("alpha"):
        directive = ask_animal("work")
    answer(bob, first, fields([directive.pk]))
    page = answer(ann, then, fields([directive.pk], until="1h"))
    assert outcomes(page)[directive.pk] == ("Not possible", by)
    assert by in page.content.decode()


def test_who_reran_first_is_named(database):
    ann, bob = client_of("ann", superuser=True), client_of("bob", superuser=True)
    with in_tenant("alpha"):
        directive = ask_animal("work")
        run(directive)
    answer(bob, "rerun", fields([directive.pk]))
    assert outcomes(answer(ann, "rerun", fields([directive.pk])))[directive.pk] == (
        "Not possible",
        "bob had it rerun.",
    )
