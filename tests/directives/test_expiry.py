"""Effects for a time: whatever can be undone ends by itself, and no end undoes what came since."""

import json
import re
from datetime import timedelta
from html import unescape
from uuid import uuid4

import pytest
from django.utils import timezone

from directives import operations, registry
from directives.admin.forms import ExpiringForm, payload_form
from directives.authority import roles
from directives.errors import InvalidPayload
from directives.executing import attempts
from directives.models import Directive, Restriction
from directives.requests import DirectiveRequest, request, request_many
from directives.runner import run_due
from fleetprompt.tenants.context import in_tenant
from forums.models import Thread
from signals.types import Actor
from tests.admin import client_of
from tests.directives.commands import directive as command
from tests.library.models import Book
from tests.recipes import forums
from tests.support import ask, make_due, make_forum, run

MIRA, TIMER = Actor("agent", "mira"), Actor("system", "timer")


@pytest.fixture
def soon():
    return timezone.now() + timedelta(hours=1)


@pytest.fixture
def news(forum):
    return forums.category.make(slug="news", name="News")


@pytest.fixture
def book(alpha):
    return Book.objects.create(title="Moby Dick")


def move(forum, news, until, **options):
    payload = {"thread_id": str(forum.thread.pk), "category_id": str(news.pk)}
    options = {"actor": MIRA, "reason": "an event", "expires_at": until, **options}
    return do("forum.thread.move", payload, **options)


def do(name, payload, **options):
    directive = ask(name, payload, **options).directive
    run(directive)
    assert directive.status == "succeeded", directive.last_error
    return directive


def end_of(directive):
    return Directive.objects.get(causation_id=str(directive.pk), actor_id=TIMER.id)


def time_comes(directive):
    end = end_of(directive)
    make_due(end)
    run(end)
    assert end.status == "succeeded", end.last_error
    return end


def category(forum):
    return Thread.objects.get(pk=forum.thread.pk).category


def test_a_thread_moves_for_a_time(forum, news, soon):
    moved = move(forum, news, soon)
    end = end_of(moved)
    assert (end.name, end.actor, end.scheduled_at, end.correlation_id) == (
        "forum.thread.move",
        TIMER,
        soon,
        moved.correlation_id,
    )
    assert end.payload == {
        "thread_id": str(forum.thread.pk),
        "category_id": str(forum.category.pk),
        "expected_revision": 2,
    }
    assert category(forum) == news
    assert time_comes(moved).result["changed"] is True
    assert category(forum) == forum.category


def test_an_end_leaves_what_changed_since_and_names_it(forum, news, soon):
    moved = move(forum, news, soon)
    locked = do("forum.thread.lock", {"thread_id": str(forum.thread.pk)})
    result = time_comes(moved).result
    assert (result["changed"], result["superseded_by"]) == (False, str(locked.pk))
    assert category(forum) == news


def test_an_end_after_a_change_without_a_directive_names_none(forum, news, soon):
    moved = move(forum, news, soon)
    Thread.objects.update(revision=7)
    assert time_comes(moved).result["superseded_by"] is None
    assert category(forum) == news


def test_an_end_names_what_changed_restrictions_and_not_the_status(forum, news, soon):
    about = {"thread_id": str(forum.thread.pk)}
    do("forum.thread.archive", about)
    moved = move(forum, news, soon)
    locked = do("forum.thread.lock", about)
    assert locked.result["changed"] is False
    assert time_comes(moved).result["superseded_by"] == str(locked.pk)


def test_an_end_of_what_is_gone_changes_nothing(forum, news, soon):
    moved = move(forum, news, soon)
    forum.thread.posts.all().delete()
    forum.thread.delete()
    assert time_comes(moved).result["changed"] is False


def test_what_was_undone_before_does_not_end_again(forum, news, soon):
    moved = move(forum, news, soon)
    undone = operations.undo(moved.pk, actor=MIRA, reason="a mistake").directive
    run(undone)
    assert time_comes(moved).result["superseded_by"] == str(undone.pk)
    assert category(forum) == forum.category


def test_an_end_is_moved_canceled_and_run_as_any_directive(forum, news, soon):
    moved, later = move(forum, news, soon), soon + timedelta(hours=1)
    end = operations.snooze(end_of(moved).pk, later, actor=MIRA, reason="longer")
    assert end.scheduled_at == later
    operations.snooze(end.pk, soon - timedelta(minutes=30), actor=MIRA, reason="shorter")
    operations.run_now(end.pk, actor=MIRA, reason="now")
    run_due()
    assert category(forum) == forum.category


def test_a_success_that_is_lost_requests_no_end(forum, news, soon):
    payload = {"thread_id": str(forum.thread.pk), "category_id": str(forum.category.pk)}
    directive = ask("forum.thread.move", payload, expires_at=soon).directive
    run(directive)
    assert directive.status == "failed"
    assert Directive.objects.count() == 1


def test_a_subject_without_a_revision_and_with_an_integer_key_is_restored(book, soon):
    withdrawn = do("library.book.withdraw", {"book_id": book.pk}, expires_at=soon)
    assert time_comes(withdrawn).name == "library.book.restore"
    book.refresh_from_db()
    assert book.status == "open"


def test_without_a_revision_a_later_directive_supersedes(book, soon):
    withdrawn = do("library.book.withdraw", {"book_id": book.pk}, expires_at=soon)
    do("library.book.restore", {"book_id": book.pk})
    again = do("library.book.withdraw", {"book_id": book.pk}, idempotency_key="again")
    assert time_comes(withdrawn).result["superseded_by"] == str(again.pk)
    book.refresh_from_db()
    assert book.status == "withdrawn"


def test_what_changed_nothing_has_no_end(book, soon):
    Book.objects.update(status="withdrawn")
    do("library.book.withdraw", {"book_id": book.pk}, expires_at=soon)
    assert Directive.objects.count() == 1


def test_a_rerun_after_the_time_ends_at_once(book, soon):
    withdrawn = do("library.book.withdraw", {"book_id": book.pk}, expires_at=soon)
    time_comes(withdrawn)
    Directive.objects.filter(pk=withdrawn.pk).update(expires_at=timezone.now())
    operations.rerun(withdrawn.pk, actor=MIRA, reason="again")
    run_due()
    book.refresh_from_db()
    assert (book.status, Directive.objects.filter(status="succeeded").count()) == ("open", 3)


def unlock(forum, until):
    return do("forum.thread.unlock", {"thread_id": str(forum.thread.pk)}, expires_at=until)


def test_a_thread_is_unlocked_for_a_time(forum, soon):
    until = soon + timedelta(hours=1)
    payload = {"thread_id": str(forum.thread.pk), "policy": "1.2"}
    do("forum.thread.lock", payload, actor=MIRA, expires_at=until)
    end = time_comes(unlock(forum, soon))
    assert (end.name, end.payload["policy"]) == ("forum.thread.lock", "1.2")
    [locked] = Restriction.objects.filter(ended_at=None)
    assert (locked.until, locked.actor) == (until, TIMER)


def test_what_would_have_ended_before_does_not_come_back(forum, soon):
    do("forum.thread.lock", {"thread_id": str(forum.thread.pk)}, expires_at=soon)
    unlock(forum, soon + timedelta(hours=1))
    assert not Directive.objects.filter(name="forum.thread.lock", actor_id=TIMER.id).exists()


def test_ends_of_a_group_are_requested_together(forum, news, soon):
    threads = [forums.thread.make(category=forum.category) for _ in range(20)]
    # As on an idle machine.
    attempts.seconds_by_name["forum.thread.move"] = 0.0
    items = [
        DirectiveRequest(
            "forum.thread.move",
            {"thread_id": str(thread.pk), "category_id": str(news.pk)},
            expires_at=soon,
            correlation_id=f"of {thread.pk}",
        )
        for thread in threads
    ]
    asked = [one.directive for one in request_many(items, actor=MIRA)]
    run_due()
    ends = Directive.objects.filter(actor_id=TIMER.id, causation_id__in=[str(one.pk) for one in asked])
    assert {(end.causation_id, end.correlation_id) for end in ends} == {
        (str(one.pk), one.correlation_id) for one in asked
    }
    assert ends.values("created_at").distinct().count() < len(threads)
    for end in ends:
        make_due(end)
    run_due()
    assert not Thread.objects.filter(category=news).exists()


@pytest.mark.parametrize("name", ["forum.thread.lock", "restriction.reschedule"])
def test_an_end_of_a_restriction_names_what_it_ends(forum, soon, name):
    directive = do(
        "forum.thread.lock",
        {"thread_id": str(forum.thread.pk)},
        expires_at=soon if name == "forum.thread.lock" else None,
    )
    if name == "restriction.reschedule":
        about = {"type": "forum.thread", "id": str(forum.thread.pk)}
        payload = {"subject": about, "restriction_id": str(Restriction.objects.get().pk)}
        directive = do(name, payload | {"until": soon.isoformat()})
    assert (end_of(directive).name, end_of(directive).scheduled_at) == ("restriction.end", soon)


@pytest.mark.parametrize("name", ["restriction.end", "restriction.reschedule"])
def test_what_is_about_the_time_of_another_has_none_itself(forum, soon, name):
    do("forum.thread.lock", {"thread_id": str(forum.thread.pk)})
    about = {"type": "forum.thread", "id": str(forum.thread.pk)}
    payload = {"subject": about, "restriction_id": str(Restriction.objects.get().pk)}
    with pytest.raises(InvalidPayload, match=f"expires_at: {name} has no effect that could end"):
        request(name, payload, actor=MIRA, expires_at=soon)


# By the admin and the command line


def test_the_form_asks_for_how_long_wherever_there_is_an_undo():
    offered = {one.name for one in registry.handlers() if issubclass(payload_form(one), ExpiringForm)}
    assert offered == {one.name for one in registry.handlers() if one.inverse}
    assert {"forum.thread.move", "forum.post.unhide", "library.book.withdraw"} < offered


def test_a_move_for_an_hour_is_seen_on_its_page_and_on_the_threads_and_put_off_there(database):
    mira = client_of("mira", group=roles.MODERATOR)
    with in_tenant("alpha"):
        forum, news = make_forum(), forums.category.make(slug="news", name="News")
    fields = {"subjects": str(forum.thread.pk), "payload_category_id": str(news.pk), "lasts": "1h"}
    fields |= {"batch": str(uuid4()), "reason": "an event", "when": "now", "confirm": "request"}
    assert mira.post("/admin/directives/directive/request/forum.thread.move/", fields).status_code == 302
    with in_tenant("alpha"):
        run_due()
        moved = Directive.objects.exclude(actor_type="system").get()
        end = end_of(moved)
    form = mira.text("directives/directive/request/forum.thread.move/", subjects=str(forum.thread.pk))
    assert "This has been requested already" not in form
    assert f'directive/{end.pk}/change/">Move thread</a>, due' in mira.text(
        f"directives/directive/{moved.pk}/change/"
    )
    page = mira.text(f"forums/thread/{forum.thread.pk}/change/")
    assert "Ends by itself" in page
    assert f"operate/snooze/?id={end.pk}" in page
    undone = re.search(r"undoes <a [^>]*>Move thread</a> by ([^<]*)<", page)
    assert undone is not None
    assert unescape(undone[1]) == f"{moved.actor}: “an event”"
    assert "<span>due <time" in page
    # Nor in any zone as Python writes it: the timeline shows the end as every other time.
    assert moved.expires_at.isoformat() not in mira.text(f"directives/directive/{moved.pk}/change/")
    with in_tenant("alpha"):
        time_comes(moved)
        assert category(forum) == forum.category
    assert "Ends by itself" not in mira.text(f"forums/thread/{forum.thread.pk}/change/")


def test_a_move_for_two_hours_by_the_command_line(database):
    with in_tenant("alpha"):
        forum, news = make_forum(), forums.category.make()
    payload = json.dumps({"thread_id": str(forum.thread.pk), "category_id": str(news.pk)})
    asked = command("request", "forum.thread.move", "--payload", payload, "--for", "2h")
    assert not asked.error
    assert not command("run").error
    with in_tenant("alpha"):
        moved = Directive.objects.exclude(actor_id=TIMER.id).get()
        assert end_of(moved).scheduled_at == moved.expires_at
