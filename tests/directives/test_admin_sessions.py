"""A session that ends before a form is submitted: after the log-in, the same user gets the form back."""

import re
import time
from datetime import timedelta
from html import unescape
from urllib.parse import urlsplit

import pytest
from django.contrib.sessions.models import Session
from django.http import QueryDict
from django.utils import timezone

from directives.models import Directive
from fleetprompt.tenants.context import in_tenant
from fleetprompt.web import kept_forms
from tests.accounts import PASSWORD, make_user
from tests.admin import AdminClient
from tests.support import ask, make_forum, wait_until

SNOOZE = "/admin/directives/directive/operate/snooze/"
HIDE = "/admin/directives/directive/request/forum.post.hide/"
CREATE = "/admin/directives/directive/request/forum.post.create/"
REASON = "They are still talking & <nicely>"


@pytest.fixture
def mira(database):
    client = AdminClient().log_in(make_user("alpha", "mira", groups=["Moderator"]))
    client.handler.enforce_csrf_checks = True
    return client


@pytest.fixture
def forum(database):
    with in_tenant("alpha"):
        return make_forum()


def fields_of(page):
    """Return what a form of the page carries by itself."""
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.content.decode()))


def end_sessions():
    with in_tenant("alpha"):
        Session.objects.all().delete()


def log_in_at(client, answer, username="mira"):
    """Log in on the page that an answer leads to; return the page after it."""
    assert answer.status_code == 302
    login = answer.headers["Location"]
    token = fields_of(client.get(login))["csrfmiddlewaretoken"]
    form = {"username": username, "password": PASSWORD, "csrfmiddlewaretoken": token}
    answer = client.post(login, form)
    assert answer.status_code == 302, answer.content.decode()
    return client.get(answer.headers["Location"])


def gone(client, answer):
    """Return whether an answer says that there is nothing to come back to, and shows nothing of it."""
    assert answer.status_code == 302
    page = client.get(answer.headers["Location"]).content.decode()
    return "kept for an hour, for you alone" in page and "nicely" not in page


def sent_too_late(client, url, query="", **fields):
    """Open a form, let the session end, and send it; return the answer."""
    page = client.get(f"{url}{query}")
    assert page.status_code == 200
    end_sessions()
    return client.post(url, {**fields_of(page), **fields})


def snoozed_too_late(client, forum):
    with in_tenant("alpha"):
        lock = ask("forum.thread.lock", {"thread_id": str(forum.thread.pk)}).directive
    at = (timezone.localtime() + timedelta(days=2)).strftime("%Y-%m-%dT%H:%M")
    fields = {"reason": REASON, "until": "at", "at": at, "_selected_action": str(lock.pk)}
    return lock, at, sent_too_late(client, SNOOZE, f"?id={lock.pk}", **fields)


def test_an_operation_comes_back_with_all_that_was_filled_in(mira, forum):
    lock, at, answer = snoozed_too_late(mira, forum)
    page = log_in_at(mira, answer)
    text = unescape(page.content.decode())
    assert page.status_code == 200
    assert "Your session had ended" in text
    assert REASON in text
    assert f'value="{at}"' in text
    assert fields_of(page)["_selected_action"] == str(lock.pk)
    assert re.search(r'value="at"[^>]*checked', text)
    with in_tenant("alpha"):
        assert Directive.objects.get().scheduled_at == lock.scheduled_at, "nothing was done"
    again = mira.get(page.request["PATH_INFO"], page.request["QUERY_STRING"] and {}, follow=True)
    assert again.status_code == 400, "the plain address knows nothing of it"
    sent = {**fields_of(page), "reason": REASON, "until": "at", "at": at}
    assert mira.post(SNOOZE, sent).status_code == 302
    with in_tenant("alpha"):
        assert Directive.objects.get().scheduled_at > timezone.now() + timedelta(days=1)


def test_a_request_comes_back_with_selection_reason_and_time(mira, forum):
    ids = ",".join(str(post.pk) for post in forum.posts)
    at = (timezone.localtime() + timedelta(hours=3)).strftime("%Y-%m-%dT%H:%M")
    fields = {"reason": REASON, "when": "later", "at": at, "confirm": "request", "subjects": ids}
    answer = sent_too_late(mira, HIDE, f"?subjects={ids}", **fields)
    page = log_in_at(mira, answer)
    text = unescape(page.content.decode())
    assert page.status_code == 200
    assert "Hide 3 posts" in text
    assert fields_of(page)["subjects"] == ids
    assert REASON in text
    assert f'value="{at}"' in text
    assert re.search(r'value="later"\s*selected', text)
    with in_tenant("alpha"):
        assert not Directive.objects.exists()
    assert mira.post(HIDE, {**fields, **fields_of(page)}).status_code == 302
    with in_tenant("alpha"):
        assert Directive.objects.count() == 3


def test_a_form_without_a_selection_comes_back_too(mira, forum):
    fields = {
        "payload_thread_id": str(forum.thread.pk),
        "payload_content": "Hello all",
        "confirm": "dry_run",
    }
    page = log_in_at(mira, sent_too_late(mira, CREATE, **fields))
    text = page.content.decode()
    assert page.status_code == 200
    assert "Hello all" in text
    assert f'<option value="{forum.thread.pk}" selected>Welcome</option>' in text


def test_nobody_else_sees_it(mira, forum):
    make_user("alpha", "olga", is_superuser=True)
    _, _, answer = snoozed_too_late(mira, forum)
    page = log_in_at(mira, answer, "olga")
    assert gone(mira, page)


def test_another_browser_does_not_have_it(mira, forum):
    _, _, answer = snoozed_too_late(mira, forum)
    other = AdminClient()
    assert gone(other, log_in_at(other, answer))


def test_it_is_kept_for_an_hour(mira, forum, monkeypatch):
    monkeypatch.setattr(kept_forms, "KEPT_SECONDS", 1)
    _, _, answer = snoozed_too_late(mira, forum)
    time.sleep(1.1)
    assert gone(mira, log_in_at(mira, answer))


@pytest.mark.parametrize("owner", ["", "forged", "WyJvcmdfYWxwaGEiLCIxIl0:1:x"])
def test_what_is_no_form_of_ours_is_not_kept(mira, forum, owner):
    for url in (SNOOZE, HIDE):
        answer = sent_too_late(
            mira, url.replace("operate/snooze", "request/forum.post.hide"), form_owner=owner
        )
        assert answer.status_code == 302
        assert "kept" not in answer.headers["Location"]
        with in_tenant("alpha"):
            assert not Session.objects.exists()
        mira.post("/admin/login/", {})
        page = log_in_at(mira, answer)
        assert page.status_code == 200


def test_many_forms_wait_at_most(mira, forum):
    page = mira.get(HIDE)
    end_sessions()
    fields = fields_of(page)
    answers = [mira.post(HIDE, {**fields, "reason": f"r{number}"}) for number in range(8)]
    assert "r7" in log_in_at(mira, answers[7]).content.decode()
    for number, answer in enumerate(answers):
        address = QueryDict(urlsplit(answer.headers["Location"]).query)["next"]
        assert mira.get(address).status_code == (302 if number < 3 else 200), number


def test_the_rest_of_a_stopped_operation_comes_back_too(mira, forum, monkeypatch):
    monkeypatch.setattr("directives.admin.submissions.LEASE_SECONDS", 0.1)
    monkeypatch.setattr("directives.operations.snooze", lambda *args, **options: 1 / 0)
    with in_tenant("alpha"):
        lock = ask("forum.thread.lock", {"thread_id": str(forum.thread.pk)}).directive
    fields = fields_of(mira.get(f"{SNOOZE}?id={lock.pk}"))
    mira.raise_request_exception = False
    data = {**fields, "reason": REASON, "until": "1h"}
    assert mira.post(SNOOZE, data).status_code == 500
    page = wait_until(
        lambda: (found := mira.post(SNOOZE, data, follow=True)) and found.context["left"] and found,
        "the operation has stopped",
    )
    assert "stopped before its end" in page.content.decode()
    end_sessions()
    rest = {**fields_of(page), "reason": REASON, "ask": "1"}
    question = log_in_at(mira, mira.post(SNOOZE, rest))
    assert question.status_code == 200
    text = unescape(question.content.decode())
    assert REASON in text
    assert "This field is required" not in text
    monkeypatch.undo()
    sent = {**fields_of(question), "reason": REASON, "until": "1h"}
    assert mira.post(SNOOZE, sent).status_code == 302
    with in_tenant("alpha"):
        assert Directive.objects.get().scheduled_at > timezone.now() + timedelta(minutes=50)
