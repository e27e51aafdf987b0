"""A directive's page in the admin: facts, timeline, related records; it offers no change of the row."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from directives import operations
from directives.authority import roles
from directives.models import Directive
from fleetprompt.tenants.context import in_tenant, return_to_public
from signals.bus import emit
from tests.admin import client_of
from tests.big import asked
from tests.recipes import signals
from tests.support import (
    ABSENT,
    TESTER,
    ask,
    ask_animal,
    change,
    claim,
    make_due,
    make_forum,
    run,
    written_by,
)

LIST = "/admin/directives/directive/"
HOST = {"host": "alpha.localhost"}


@pytest.fixture
def client(database):
    return client_of("root", superuser=True)


def page(client, directive):
    response = client.get(f"{LIST}{directive.pk}/change/")
    assert response.status_code == 200
    return response


def text_of(client, directive):
    return page(client, directive).content.decode()


def live(client, directive, seen=""):
    return client.get(f"{LIST}{directive.pk}/live/", {"seen": seen})


def names(client, directive):
    return {button["label"] for button in page(client, directive).context["buttons"]}


def test_it_shows_facts_payload_result_and_timeline_readably(client):
    with in_tenant("alpha"):
        thread = make_forum().thread
        lock = ask("forum.thread.lock", {"thread_id": str(thread.pk)}, reason="Too hot").directive
        run(lock)
    response = page(client, lock)
    text = response.content.decode()
    for shown in ("Lock thread", "Succeeded", "Too hot", "1 of 5", str(lock.pk), lock.idempotency_key):
        assert shown in text
    assert f"<dt>thread_id</dt><dd>{thread.pk}</dd>" in text
    assert "<dt>changed</dt><dd>yes</dd>" in text
    assert "{&quot;" not in text
    assert "{&#x27;" not in text
    told = [entry.signal.name for entry in response.context["entries"]]
    assert told == [
        "directive.requested",
        "directive.started",
        "forum.thread.locked",
        "directive.succeeded",
    ]
    assert f'href="/admin/forums/thread/{thread.pk}/change/"' in text
    assert f'href="/admin/signals/signal/?q={lock.pk}"' in text


def test_everything_is_escaped(client):
    evil = "<script>alert(1)</script>"
    with in_tenant("alpha"):
        directive = ask_animal("refuse", animal=evil[:50], note=evil, reason=evil, causation_id=evil)
        run(directive)
        change(directive, last_error=evil, metadata={"lost_signals": [evil], evil: evil})
    text = text_of(client, directive)
    assert "<script>alert" not in text
    assert text.count("&lt;script&gt;alert") >= 6


def test_an_error_and_lost_signals_are_told(client):
    with in_tenant("alpha"):
        directive = ask_animal("refuse")
        run(directive)
        change(directive, metadata={"lost_signals": ["directive.started"], "client": {"ip": None}})
    text = text_of(client, directive)
    assert "It failed" in text
    assert "DirectiveError: never" in text
    assert "Signals are missing in the timeline." in text
    assert "<dt>client</dt>" in text
    assert "<dt>lost_signals</dt>" not in text


def test_what_led_to_it_is_a_directive_a_signal_a_text_or_nothing(client):
    with in_tenant("alpha"):
        cause = ask_animal("work", animal="cause")
        signal, _ = emit("zoo.opened", {}, dedupe_key="x", actor=TESTER)
        by_directive, by_signal, by_text, by_nobody, by_gone = (
            ask_animal("work", animal=f"effect {n}", causation_id=value)
            for n, value in enumerate(
                [str(cause.pk), str(signal.pk), "ticket 7", None, "00000000-0000-0000-0000-000000000000"]
            )
        )
    assert f'<a href="{LIST}{cause.pk}/change/">Work</a>' in text_of(client, by_directive)
    assert f'<a href="/admin/signals/signal/{signal.pk}/change/">zoo.opened</a>' in text_of(
        client, by_signal
    )
    assert "ticket 7" in text_of(client, by_text)
    assert "nothing else: it was asked for by itself" in text_of(client, by_nobody)
    assert "00000000-0000-0000-0000-000000000000" in text_of(client, by_gone)
    caused = page(client, cause)
    assert [row.pk for row in caused.context["effects"]] == [by_directive.pk]
    assert "1 directive<" in caused.content.decode()


def test_its_batch_and_its_subjects_other_directives(client):
    with in_tenant("alpha"):
        mine = ask_animal("work", animal="cat", correlation_id="batch")
        batch = [ask_animal("work", animal=f"a{n}", correlation_id="batch") for n in range(24)]
        others = [ask_animal("work", animal="cat") for _ in range(22)]
    context = page(client, mine).context
    together, about = context["batch"], context["same_subject"]
    assert [row.pk for row in together] == [mine.pk, *(row.pk for row in batch[:19])]
    assert (together.paginator.shown_count, together.has_next()) == ("25", True)
    assert [row.pk for row in about] == [row.pk for row in others[:1:-1]]
    assert (about.paginator.shown_count, about.has_next()) == (
        "22",
        True,
    )


def test_of_very_many_signals_the_newest_are_shown(client):
    with in_tenant("alpha"):
        directive = ask_animal("work")
        for n in range(250):
            at = timezone.now() + timedelta(seconds=n)
            signals.signal.make(causation_id=str(directive.pk), payload={"number": n}, recorded_at=at)
    response = page(client, directive)
    entries = response.context["entries"]
    assert [entry.signal.payload["number"] for entry in entries] == list(range(50, 250))
    assert "Only the newest 200 signals are here" in response.content.decode()


def test_buttons_are_those_that_status_and_user_allow(client):
    with in_tenant("alpha"):
        waiting, running, ended = (ask_animal("work", animal=str(n)) for n in range(3))
        claim(running), run(ended)
    auditor = client_of("aud", group=roles.AUDITOR)
    assert names(client, waiting) == {"Snooze", "Run now", "Cancel"}
    assert names(client, running) == set()
    assert names(client, ended) == {"Rerun"}
    for directive in (waiting, running, ended):
        assert names(auditor, directive) == set()


def test_undo_is_offered_for_an_effect_to_those_who_may_have_it_and_its_end(client):
    with in_tenant("alpha"):
        forum = make_forum()
        lock = ask("forum.thread.lock", {"thread_id": str(forum.thread.pk)}).directive
    assert "Undo" not in names(client, lock)
    with in_tenant("alpha"):
        run(lock)
        gone = ask("forum.post.hide", {"post_id": str(forum.posts[0].pk)}).directive
        run(gone)
        run(ask("forum.post.unhide", {"post_id": str(forum.posts[0].pk)}).directive)
        animal = ask_animal("work")
        run(animal)
    assert names(client, lock) == {"Rerun", "Undo"}
    assert names(client, gone) == {"Rerun"}, "what it began has ended"
    assert names(client, animal) == {"Rerun"}, "it has no inverse"
    mod = client_of("mod", group=roles.MODERATOR)
    assert names(mod, lock) == {"Undo"}
    for codename in ("request_forum.thread.lock", "request_restriction.end"):
        with in_tenant("alpha"):
            group = Group.objects.get(name=roles.MODERATOR)
            group.permissions.remove(Permission.objects.get(codename=codename))
        try:
            assert names(mod, lock) == set()
        finally:
            with in_tenant("alpha"):
                group.permissions.add(Permission.objects.get(codename=codename))


def test_a_moderators_buttons_follow_each_permission(database):
    with in_tenant("alpha"):
        lock = ask("forum.thread.lock", {"thread_id": str(make_forum().thread.pk)}).directive
    mod = client_of("mod", group=roles.MODERATOR)
    assert names(mod, lock) == {"Snooze", "Run now"}
    with in_tenant("alpha"):
        user = User.objects.get(username="mod")
        user.user_permissions.add(Permission.objects.get(codename="cancel_forum.thread.lock"))
    assert names(mod, lock) == {"Snooze", "Run now", "Cancel"}


def test_what_waits_asks_for_itself_until_it_has_ended(client):
    with in_tenant("alpha"):
        directive = ask_animal("work")
    response = page(client, directive)
    assert f'hx-get="{LIST}{directive.pk}/live/?seen=' in response.content.decode()
    seen = response.context["version"]
    assert live(client, directive, seen).status_code == 204
    with in_tenant("alpha"):
        claim(directive)
    running = live(client, directive, seen)
    assert "Running</span>" in running.content.decode()
    assert "<html" not in running.content.decode()
    with in_tenant("alpha"):
        ended = ask_animal("work", animal="dog")
        run(ended)
    assert "/live/" not in live(client, ended, "other").content.decode()
    assert "/live/" not in text_of(client, ended)


def test_a_snoozed_one_changes_when_its_time_comes(client):
    with in_tenant("alpha"):
        directive = ask_animal("work", scheduled_at=timezone.now() + timedelta(hours=1))
    seen = page(client, directive).context["version"]
    assert live(client, directive, seen).status_code == 204
    with in_tenant("alpha"):
        make_due(directive)
    assert "waiting for a worker" in live(client, directive, seen).content.decode()


def test_a_second_snooze_shows(client):
    with in_tenant("alpha"):
        directive = ask_animal("work", scheduled_at=timezone.now() + timedelta(hours=1))
    seen = page(client, directive).context["version"]
    with in_tenant("alpha"):
        operations.snooze(
            directive.pk, timezone.now() + timedelta(hours=2), actor=TESTER, reason="even later"
        )
    assert "even later" in live(client, directive, seen).content.decode()


@pytest.mark.parametrize("odd", [ABSENT, "rubbish", "1", "a/b", "_3A", "x" * 2000])
def test_what_is_no_directive_is_not_found(client, odd):
    assert client.get(f"{LIST}{odd}/change/").status_code == 404


def test_another_tenants_directive_is_not_found(client):
    with in_tenant("beta"):
        other = ask_animal("work")
    return_to_public()
    assert client.get(f"{LIST}{other.pk}/change/").status_code == 404
    assert live(client, other).status_code == 404


@pytest.mark.parametrize("who", ["root", "mod"])
def test_nobody_adds_edits_or_deletes_a_directive(database, who):
    client = client_of(who, group="" if who == "root" else roles.MODERATOR, superuser=who == "root")
    with in_tenant("alpha"):
        directive = ask_animal("work")
        before = Directive.objects.values().get()
    form = {"status": "succeeded", "reason": "changed", "post": "yes"}
    for url in (f"{LIST}add/", f"{LIST}{directive.pk}/change/", f"{LIST}{directive.pk}/delete/"):
        assert client.post(url, form).status_code == 403, url
    assert client.get(f"{LIST}add/").status_code == 403
    assert client.get(f"{LIST}{directive.pk}/delete/").status_code == 403
    assert client.post(f"{LIST}{directive.pk}/live/").status_code == 403
    client.post(LIST, {"action": "delete_selected", "_selected_action": [directive.pk], "index": "0"})
    client.post(LIST, {"form-TOTAL_FORMS": "1", "form-0-id": directive.pk, "_save": "Save"})
    with in_tenant("alpha"):
        assert Directive.objects.values().get() == before


def test_who_may_not_view_directives_sees_none(database):
    with in_tenant("alpha"):
        directive = ask_animal("work")
    client = client_of("ann")
    assert client.get(f"{LIST}{directive.pk}/change/").status_code == 403
    assert live(client, directive).status_code == 403


def test_a_page_takes_as_many_queries_with_many_signals_as_with_few(client):
    with in_tenant("alpha"):
        one, other = ask_animal("work", animal="a"), ask_animal("work", animal="b", correlation_id="many")
        ask_animal("work", animal="a", causation_id=str(one.pk))
        for number in range(30):
            ask_animal("work", animal="b", correlation_id="many", causation_id=str(other.pk))
            reason = f"snooze {number}"
            operations.snooze(one.pk, timezone.now() + timedelta(hours=1), actor=TESTER, reason=reason)
    counts = []
    for directive in (one, other):
        page(client, directive)
        with CaptureQueriesContext(connection) as queries:
            page(client, directive)
        counts.append(asked(queries.captured_queries))
    assert counts[0] == counts[1] <= 18


@pytest.mark.parametrize("may_see", [True, False])
def test_a_directives_page_names_category_and_member(database, may_see):
    with in_tenant("alpha"):
        post = make_forum().posts[0]
        member = written_by("Ann <b>", post)
        asked = ask("forum.post.hide", {"post_id": str(post.pk)}).directive
        counted = ask("library.count", {"what": "books"}).directive
        category = post.thread.category
    permissions = () if may_see else ("view_directive",)
    client = client_of("ines", superuser=may_see, permissions=permissions)
    path = "/admin/directives/directive/{}/change/"
    text = " ".join(client.get(path.format(asked.pk)).content.decode().split())
    if may_see:
        link = f'<a class="fp-link" href="/admin/forums/category/{category.pk}/change/">General</a>'
        assert f"<dt>Category</dt><dd>{link}</dd>" in text
        assert "<dt>Member</dt><dd>" in text
        assert "Ann &lt;b&gt;" in text
    else:
        assert f"<dt>Category</dt><dd>forum.category:{category.pk}</dd>" in text
        assert f"<dt>Member</dt><dd>forum.member:{member.pk}</dd>" in text
        assert "Ann" not in text
    text = client.get(path.format(counted.pk)).content.decode()
    assert "<dt>Scope</dt><dd>books</dd>" in text
    assert "<dt>Member</dt>" not in text
