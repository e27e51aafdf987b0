"""Snooze, Run now, Rerun and Cancel in the admin: confirmation, result, and refusals."""

import logging
import re
from datetime import datetime, timedelta
from urllib.parse import urlencode
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from directives import operations
from directives.admin import performing
from directives.authority import roles
from directives.models import Directive
from fleetprompt.tenants.context import in_tenant, return_to_public
from signals.models import Signal
from tests.admin import client_of
from tests.support import (
    TESTER,
    ask,
    ask_animal,
    begun,
    claim,
    gate,
    make_forum,
    meanwhile,
    messages,
    run,
    wait_until,
)

LIST = "/admin/directives/directive/"
HOST = {"host": "alpha.localhost"}
SELECTED = "_selected_action"
SLUGS = ["snooze", "run_now", "rerun", "cancel"]
SIGNALS = {
    "snooze": "snoozed",
    "run_now": "run_requested",
    "rerun": "rerun_requested",
    "cancel": "canceled",
}


@pytest.fixture
def client(database):
    return client_of("root", superuser=True)


def ask_one(slug="snooze", **options):
    """Request a directive on which the operation is possible."""
    with in_tenant("alpha"):
        directive = ask_animal("work", **options)
        if slug == "rerun":
            run(directive)
    return directive


def from_list(client, slug, *directives, **extra):
    """Choose an action in the list for the directives."""
    data = {"action": slug, "index": "0", SELECTED: [str(getattr(d, "pk", d)) for d in directives], **extra}
    return client.post(LIST, data, follow=True)


def shown_again(client, answer):
    """Follow the answer to a form that was not taken; return the page with the form."""
    assert answer.status_code == 302, "no answer to a POST is a page"
    assert "?kept=" in answer["Location"]
    page = client.get(answer["Location"])
    assert page.status_code == 200
    return page


def submit(client, slug, *directives, **fields):
    """Submit the question's form as it was drawn."""
    data = {"token": str(uuid4()), "reason": "because", "until": "1h"} | fields
    data[SELECTED] = [str(getattr(directive, "pk", directive)) for directive in directives]
    return client.post(f"{LIST}operate/{slug}/", data)


def results(client, slug, *directives, **fields):
    """Submit and return what the answer says, by directive."""
    response = submit(client, slug, *directives, **fields)
    assert response.status_code == 302, response.content.decode()
    page = client.get(response["Location"])
    assert page.status_code == 200
    return {result.directive_id: (result.word, result.text) for result, _ in page.context["rows"]}


def stored():
    """Return everything that an operation could leave behind."""
    with in_tenant("alpha"):
        directives = list(Directive.objects.order_by("pk").values())
        return directives, Signal.objects.count(), messages(), LogEntry.objects.count()


@pytest.mark.parametrize("slug", SLUGS)
def test_from_the_list_through_question_and_answer_to_the_signal(client, slug):
    one, other = ask_one(slug, animal="cat"), ask_one(slug, animal="dog")
    question = from_list(client, slug, one, other)
    text = question.content.decode()
    assert "2 directives" in text
    assert "zoo.animal:cat" in text
    form = question.context["form"]
    token = re.search(r'name="token" value="([^"]+)"', text).group(1)
    found = results(client, slug, one, other, token=token, reason="so <i>be</i> it")
    assert set(found) == {one.pk, other.pk}
    assert form.fields["reason"].required
    with in_tenant("alpha"):
        left = Signal.objects.filter(name=f"directive.{SIGNALS[slug]}")
        assert {signal.causation_id for signal in left} == {str(one.pk), str(other.pk)}
        for signal in left:
            assert (signal.actor_type, signal.actor_label) == ("user", "root")
            assert signal.payload["reason"] == "so <i>be</i> it"


@pytest.mark.parametrize("slug", SLUGS)
def test_the_question_changes_nothing(client, slug):
    directive = ask_one(slug)
    before = stored()
    assert from_list(client, slug, directive).status_code == 200
    assert client.get(f"{LIST}operate/{slug}/?id={directive.pk}").status_code == 200
    assert stored() == before


@pytest.mark.parametrize(
    ("zone", "choice", "expected"),
    [
        ("UTC", {"until": "15m"}, lambda now: now + timedelta(minutes=15)),
        ("UTC", {"until": "1h"}, lambda now: now + timedelta(hours=1)),
        (
            "Asia/Tokyo",
            {"until": "morning"},
            lambda now: datetime.combine(
                now.astimezone(ZoneInfo("Asia/Tokyo")).date() + timedelta(days=1),
                datetime.min.time().replace(hour=9),
                ZoneInfo("Asia/Tokyo"),
            ),
        ),
        (
            "America/New_York",
            {"until": "at", "at": "2099-07-01T08:30"},
            lambda now: datetime(2099, 7, 1, 8, 30, tzinfo=ZoneInfo("America/New_York")),
        ),
    ],
)
def test_snooze_until(client, zone, choice, expected):
    client.cookies["timezone"] = zone.replace("/", "%2F")
    directive = ask_one()
    now = timezone.now()
    assert results(client, "snooze", directive, **choice)[directive.pk][0] == "Snoozed"
    with in_tenant("alpha"):
        directive.refresh_from_db()
    assert abs(directive.scheduled_at - expected(now)) < timedelta(seconds=20)


def test_the_question_names_the_users_zone(client):
    client.cookies["timezone"] = "Asia%2FTokyo"
    text = client.get(f"{LIST}operate/snooze/?id={ask_one().pk}").content.decode()
    assert "In your time zone, Asia/Tokyo" in text


def early_zone():
    """Return a zone in which it is some hours after midnight, and its time."""
    hour = timezone.now().hour
    zone = next(
        name
        for offset in range(-11, 13)
        if 2 <= (hour - offset) % 24 <= 5 and (name := f"Etc/GMT{offset:+d}")
    )
    return zone, timezone.now().astimezone(ZoneInfo(zone))


def test_tomorrow_is_counted_from_the_moment_that_the_page_showed(client):
    """Twenty seconds before midnight the page said tomorrow; by now that is today."""
    zone, now = early_zone()
    client.cookies["timezone"] = zone
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    shown_at = (midnight - timedelta(seconds=20)).isoformat()
    directive = ask_one()
    found = results(client, "snooze", directive, until="morning", zone=zone, shown_at=shown_at)
    assert found[directive.pk][0] == "Snoozed"
    with in_tenant("alpha"):
        directive.refresh_from_db()
    assert directive.scheduled_at == midnight.replace(hour=9)
    again = submit(client, "snooze", directive, until="morning", zone=zone, shown_at=shown_at, reason="")
    again = shown_again(client, again)
    morning = f"Tomorrow morning ({midnight:%a} {midnight.day} {midnight:%b}, 09:00)"
    assert morning in again.content.decode()


def test_a_morning_that_has_come_is_no_time_to_snooze_to(client):
    shown_at = (timezone.now() - timedelta(days=3)).isoformat()
    directive = ask_one()
    answer = submit(client, "snooze", directive, until="morning", shown_at=shown_at)
    answer = shown_again(client, answer)
    assert "That morning has come by now" in answer.content.decode()
    with in_tenant("alpha"):
        assert not Signal.objects.filter(name="directive.snoozed").exists()


def test_a_time_is_read_in_the_zone_of_the_page_that_asked_for_it(client):
    client.cookies["timezone"] = "Asia%2FTokyo"
    directive = ask_one()
    text = client.get(f"{LIST}operate/snooze/?id={directive.pk}").content.decode()
    carried = dict(re.findall(r'type="hidden" name="(token|zone|shown_at)" value="([^"]+)"', text))
    assert carried["zone"] == "Asia/Tokyo"
    client.cookies["timezone"] = "America%2FNew_York"
    found = results(client, "snooze", directive, until="at", at="2099-07-01T08:30", **carried)
    assert found[directive.pk][0] == "Snoozed"
    with in_tenant("alpha"):
        directive.refresh_from_db()
    assert directive.scheduled_at == datetime(2099, 7, 1, 8, 30, tzinfo=ZoneInfo("Asia/Tokyo"))


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"zone": "Mars/Olympus"}, "zone"),
        ({"zone": "x" * 5000}, "zone"),
        ({"shown_at": "soon"}, "shown_at"),
        ({"shown_at": "2026-11-30T10:00"}, "shown_at"),
        ({"shown_at": "9999-12-31T23:59+00:00"}, "shown_at"),
        ({"shown_at": "0001-01-01T00:00+14:00"}, "shown_at"),
        ({"zone": "Europe/Paris", "until": "at", "at": "2099-10-25T02:30"}, "at"),
        ({"zone": "Europe/Paris", "until": "at", "at": "2099-03-29T02:30"}, "at"),
        ({"reason": ""}, "reason"),
        ({"reason": "   "}, "reason"),
        ({"reason": "x" * 1001}, "reason"),
        ({"reason": "a\x00b"}, "reason"),
        ({"reason": "key AKIA" + "A" * 16}, "reason"),
        ({"until": "never"}, "until"),
        ({"until": ""}, "until"),
        ({"until": "at"}, "at"),
        ({"until": "at", "at": "soon"}, "at"),
        ({"until": "at", "at": "2001-01-01T00:00"}, "at"),
        ({"until": "at", "at": "9999-12-31T23:59"}, "at"),
        ({"token": "x"}, "token"),
    ],
)
def test_a_form_that_is_not_as_expected_is_asked_again_and_changes_nothing(client, fields, field):
    directive = ask_one()
    before = stored()
    response = shown_again(client, submit(client, "snooze", directive, **fields))
    assert field in response.context["form"].errors
    assert stored() == before


def test_each_says_what_happened_and_why_not(client):
    waiting, running, ended = ask_one(animal="a"), ask_one(animal="b"), ask_one("rerun", animal="c")
    with in_tenant("alpha"):
        claim(running)
    missing = uuid4()
    question = from_list(client, "cancel", waiting, running, ended).content.decode()
    assert "It is running; only one that is requested can be canceled." in question
    found = results(client, "cancel", waiting, running, ended, missing)
    assert found[waiting.pk] == ("Canceled", "")
    assert found[running.pk] == (
        "Not possible",
        "It is running; only one that is requested can be canceled.",
    )
    assert found[ended.pk][1] == "It has succeeded; only one that is requested can be canceled."
    assert found[missing][0] == "Not found"


@pytest.mark.parametrize("slug", ["rerun", "cancel"])
def test_a_running_one_is_neither_rerun_nor_canceled(client, slug):
    directive = ask_one()
    with in_tenant("alpha"):
        claim(directive)
    assert f"operate/{slug}/" not in client.get(f"{LIST}{directive.pk}/change/").content.decode()
    question = client.get(f"{LIST}operate/{slug}/?id={directive.pk}").content.decode()
    assert "This can be done to nothing that you selected" in question
    assert '<button class="fp-button fp-button-primary"' not in question
    before = stored()
    assert results(client, slug, directive)[directive.pk][0] == "Not possible"
    assert stored() == before


def test_a_double_submit_does_it_once_and_shows_the_same_answer(client):
    directive = ask_one()
    token = str(uuid4())
    first = submit(client, "snooze", directive, token=token)
    second = submit(client, "snooze", directive, token=token)
    assert first["Location"] == second["Location"]
    assert client.get(second["Location"]).context["rows"][0][0].word == "Snoozed"
    with in_tenant("alpha"):
        assert Signal.objects.filter(name="directive.snoozed").count() == 1


def test_a_form_that_was_changed_after_going_back_is_another_one(client):
    directive = ask_one()
    token = str(uuid4())
    first = submit(client, "snooze", directive, token=token, until="1h")
    second = submit(client, "snooze", directive, token=token, until="morning")
    assert first["Location"] != second["Location"]
    with in_tenant("alpha"):
        assert Signal.objects.filter(name="directive.snoozed").count() == 2


def test_a_time_that_is_not_chosen_is_told(client):
    answer = submit(client, "snooze", ask_one(), until="1h", at="2999-01-01T00:00")
    answer = shown_again(client, answer)
    assert "leave this empty" in answer.content.decode()


def test_a_second_submit_while_the_first_is_at_work_waits_for_it(client):
    with in_tenant("alpha"):
        directive = ask_animal("wait", note="door", times=1)
        other = Client(headers=HOST)
        other.force_login(User.objects.get(username="root"))
    token = str(uuid4())
    with (
        gate("door") as open_the_door,
        meanwhile(lambda: submit(client, "run_now", directive, token=token).status_code) as first,
    ):
        with in_tenant("alpha"):
            wait_until(lambda: begun(directive), "the first submit is at work")
        second = submit(other, "run_now", directive, token=token)
        assert "being done" in other.get(second["Location"]).content.decode()
        open_the_door()
    assert first == [302]
    answer = other.get(second["Location"])
    assert [result.word for result, _ in answer.context["rows"]] == ["Succeeded"]


def test_an_answer_is_only_for_who_asked(client):
    response = submit(client, "snooze", ask_one())
    assert client_of("ann", superuser=True).get(response["Location"]).status_code == 404


def test_run_now_runs_it_in_this_process_and_says_how_it_went(client):
    later = timezone.now() + timedelta(hours=1)
    with in_tenant("alpha"):
        good = ask_animal("work", animal="a", scheduled_at=later)
        bad = ask_animal("refuse", animal="b", scheduled_at=later)
        again = ask_animal("stumble", animal="c", times=1, seconds=3600.0)
        behind = ask_animal("work", animal="d", scheduled_at=later)
        held = ask_animal("work", animal="e", scheduled_at=later)
        claim(ask_animal("work", animal="e"))
    found = results(client, "run_now", good, bad, again, behind, held)
    assert found[good.pk] == ("Succeeded", "")
    assert found[bad.pk][0] == "Failed"
    assert "never" in found[bad.pk][1]
    assert found[again.pk][0] == "Will be tried again"
    assert found[held.pk][0] == "Left to the cluster"
    assert "on the same subject" in found[held.pk][1]
    with in_tenant("alpha"):
        assert Directive.objects.get(pk=good.pk).status == "succeeded"


def test_run_now_keeps_the_order_of_a_line(client):
    later = timezone.now() + timedelta(hours=1)
    with in_tenant("alpha"):
        first, second = (ask_animal("work", scheduled_at=later + timedelta(hours=n)) for n in (0, 1))
    found = results(client, "run_now", second, first)
    assert [word for word, _ in found.values()] == ["Succeeded", "Succeeded"]
    with in_tenant("alpha"):
        begun = Directive.objects.order_by("started_at").values_list("pk", flat=True)
        assert list(begun) == [first.pk, second.pk]


def test_run_now_leaves_what_takes_too_long_to_the_cluster_and_wakes_it(client, monkeypatch):
    monkeypatch.setattr(performing, "RUNNING_SECONDS", 0.2)
    with in_tenant("alpha"):
        slow = [ask_animal("work", animal=str(n), seconds=0.3) for n in range(3)]
        sent = messages()
    found = results(client, "run_now", *slow)
    assert [word for word, _ in found.values()] == ["Succeeded", *["Left to the cluster"] * 2]
    with in_tenant("alpha"):
        assert messages() >= sent + 3
        assert Directive.objects.filter(status="requested", scheduled_at__lte=timezone.now()).count() == 2


def test_a_moderator_snoozes_and_runs_but_neither_reruns_nor_cancels(database):
    with in_tenant("alpha"):
        thread = make_forum().thread
        lock = ask("forum.thread.lock", {"thread_id": str(thread.pk)}).directive
    mod = client_of("mod", group=roles.MODERATOR)
    text = mod.get(LIST).content.decode()
    offered = set(re.findall(r'<option value="(snooze|run_now|rerun|cancel)"', text))
    assert offered == {"snooze", "run_now"}
    page = mod.get(f"{LIST}{lock.pk}/change/").content.decode()
    assert set(re.findall(r"operate/(\w+)/", page)) == {"snooze", "run_now"}
    assert results(mod, "snooze", lock)[lock.pk][0] == "Snoozed"


ROLES = {
    "moderator": (roles.MODERATOR, ["rerun", "cancel"]),
    "auditor": (roles.AUDITOR, SLUGS),
}


@pytest.mark.parametrize(
    ("role", "slug"), [(role, slug) for role, (_, slugs) in ROLES.items() for slug in slugs]
)
def test_what_a_role_may_not_do_is_refused_however_it_is_posted(database, caplog, role, slug):
    with in_tenant("alpha"):
        lock = ask("forum.thread.lock", {"thread_id": str(make_forum().thread.pk)}).directive
        if slug == "rerun":
            run(lock)
    client = client_of(role, group=ROLES[role][0])
    assert f'<option value="{slug}"' not in client.get(LIST).content.decode()
    before = stored()
    for response in (
        lambda: from_list(client, slug, lock),
        lambda: from_list(client, slug, lock, select_across="1"),
        lambda: client.get(f"{LIST}operate/{slug}/?id={lock.pk}"),
        lambda: submit(client, slug, lock),
    ):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert response().status_code == 403
        assert f"may not {slug.replace('_', ' ')}" in caplog.text
    assert stored() == before


def test_permissions_are_per_name_and_each_directive_says_whether_it_was_allowed(database, caplog):
    client = client_of("ann", permissions=["view_directive", "snooze_zoo.animal.work"])
    may, may_not = ask_one(), None
    with in_tenant("alpha"):
        may_not = ask_animal("refuse", animal="dog")
    found = results(client, "snooze", may, may_not)
    assert found[may.pk][0] == "Snoozed"
    assert found[may_not.pk][0] == "Not allowed"
    before = stored()
    with caplog.at_level(logging.WARNING):
        assert submit(client, "snooze", may_not).status_code == 403
        assert from_list(client, "snooze", may_not).status_code == 403
    assert "zoo.animal.refuse" in caplog.text
    assert stored() == before


def test_who_loses_the_permission_after_the_question_is_refused(database):
    client = client_of("ann", permissions=["view_directive", "snooze_zoo.animal.work"])
    directive = ask_one()
    assert from_list(client, "snooze", directive).status_code == 200
    with in_tenant("alpha"):
        User.objects.get(username="ann").user_permissions.clear()
    assert submit(client, "snooze", directive).status_code == 403


def test_one_that_changes_between_question_and_answer_says_so(client):
    directive = ask_one()
    from_list(client, "snooze", directive)
    with in_tenant("alpha"):
        operations.cancel(directive.pk, actor=TESTER, reason="first")
    assert results(client, "snooze", directive)[directive.pk] == (
        "Not possible",
        "It is canceled; only one that is requested can be snoozed.",
    )


def test_more_than_the_limit_is_refused_with_a_message(client, monkeypatch):
    monkeypatch.setattr("directives.admin.operating.MAX_DIRECTIVES", 2)
    made = [ask_one(animal=str(number)) for number in range(3)]
    before = stored()
    for selected, across in ((made, "0"), (made[:1], "1")):
        response = from_list(client, "snooze", *selected, select_across=across)
        assert "at most 2 directives" in response.content.decode()
    assert submit(client, "snooze", *made).status_code == 400
    assert (
        client.get(f"{LIST}operate/snooze/?" + urlencode([("id", d.pk) for d in made])).status_code == 400
    )
    assert stored() == before


def test_all_that_match_a_filter_are_taken_across_pages(client):
    with in_tenant("alpha"):
        wanted = [ask_animal("roam", animal=str(number)) for number in range(60)]
        ask_animal("work")
    url = f"{LIST}?name=zoo.animal.roam"
    data = {"action": "cancel", "index": "0", "select_across": "1", SELECTED: [str(wanted[0].pk)]}
    question = client.post(url, data, follow=True)
    assert "60 directives" in question.content.decode()
    assert "and 10 more" in question.content.decode()
    found = results(client, "cancel", *question.context["ids"])
    assert [word for word, _ in found.values()] == ["Canceled"] * 60


@pytest.mark.parametrize("bad", ["rubbish", "", "\x00", "1"])
def test_ids_that_are_none_are_refused(client, bad):
    ask_one()
    before = stored()
    assert "?kept=" not in from_list(client, "snooze", bad).redirect_chain[-1][0]
    assert submit(client, "snooze", bad).status_code == 400
    assert client.get(f"{LIST}operate/snooze/?{urlencode({'id': bad})}").status_code == 400
    assert stored() == before


def test_no_selection_no_operation_and_no_directive_are_answered(client):
    assert submit(client, "snooze").status_code == 400
    assert client.get(f"{LIST}operate/snooze/?id={uuid4()}").status_code == 404
    assert client.get(f"{LIST}operate/explode/?id={ask_one().pk}").status_code == 404
    assert submit(client, "explode", ask_one()).status_code == 404
    assert client.get(f"{LIST}operate/snooze/{uuid4()}/").status_code == 404


def test_another_tenants_directive_is_not_found(client):
    with in_tenant("beta"):
        other = ask_animal("work")
    assert client.get(f"{LIST}operate/cancel/?id={other.pk}").status_code == 404
    assert results(client, "cancel", other)[other.pk][0] == "Not found"
    return_to_public()
    with in_tenant("beta"):
        other.refresh_from_db()
    assert other.status == "requested"


def test_nobody_is_sent_to_the_login(database):
    client = Client(headers=HOST)
    directive = ask_one()
    response = submit(client, "snooze", directive)
    assert response.status_code == 302
    assert "/admin/login/" in response["Location"]
