"""A signals table that is missing or refuses rows: directives still execute, and name the lost signals."""

from contextlib import contextmanager, nullcontext
from datetime import timedelta

import pytest
from django.db import ProgrammingError
from django.utils import timezone

from directives import operations, runner
from directives.errors import Refused
from directives.models import Directive
from directives.outcomes import Kind
from directives.requests import request_batch, request_many
from forums import content
from forums.models import Post, Thread
from signals import bus
from tests.support import (
    TESTER,
    ask,
    ask_animal,
    crash,
    effects,
    make_due,
    messages,
    owner_cursor,
    run,
    signal_names,
)

REFUSE = """
CREATE FUNCTION test_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.name = ANY(TG_ARGV) THEN
        {refuse} END IF;
    RETURN NEW;
END $$;
"""


@contextmanager
def table_missing():
    with owner_cursor() as cursor:
        cursor.execute("ALTER TABLE signals_signal RENAME TO signals_gone")
    try:
        yield
    finally:
        with owner_cursor() as cursor:
            cursor.execute("ALTER TABLE signals_gone RENAME TO signals_signal")


@contextmanager
def refusing(*names, state="P0001", silently=False):
    arguments = ", ".join(f"'{name}'" for name in names)
    error = f"RAISE EXCEPTION 'refused by the test: %', NEW.name USING ERRCODE = '{state}';"
    with owner_cursor() as cursor:
        cursor.execute(REFUSE.replace("{refuse}", "RETURN NULL;" if silently else error))
        cursor.execute(
            "CREATE TRIGGER test_refuse BEFORE INSERT ON signals_signal"
            f" FOR EACH ROW EXECUTE FUNCTION test_refuse({arguments})"
        )
    try:
        yield
    finally:
        with owner_cursor() as cursor:
            cursor.execute("DROP TRIGGER test_refuse ON signals_signal")
            cursor.execute("DROP FUNCTION test_refuse")


def lost(directive):
    directive.refresh_from_db()
    return directive.metadata.get("lost_signals", [])


def test_without_a_signals_table_a_directive_succeeds_and_lists_what_it_could_not_say(forum, caplog):
    directive = ask("forum.post.hide", {"post_id": str(forum.posts[0].pk)}, metadata={"page": 1}).directive
    with table_missing():
        assert run(directive).kind == Kind.SUCCEEDED
    assert Post.objects.get(pk=forum.posts[0].pk).status == "hidden"
    assert directive.result["changed"] is True
    names = ["directive.started", "forum.post.hidden", "directive.succeeded"]
    assert directive.metadata == {"page": 1, "lost_signals": names}
    assert signal_names(directive) == ["directive.requested"]
    logged = [record.getMessage() for record in caplog.records if " is lost: " in record.getMessage()]
    assert [f"signal {name}:alpha:" in line for name, line in zip(names, logged, strict=True)] == [True] * 3


def test_without_a_signals_table_a_failure_is_recorded_and_retried_and_recovered(alpha):
    stumble, refuse, stalled = (
        ask_animal("stumble", times=1),
        ask_animal("refuse", "dog"),
        ask_animal("work", "cow"),
    )
    crash(stalled)
    with table_missing():
        assert run(stumble).kind == Kind.RETRY_SCHEDULED
        make_due(stumble)
        assert run(stumble).kind == Kind.SUCCEEDED
        assert run(refuse).kind == Kind.FAILED
        assert run(stalled).kind == Kind.SUCCEEDED
    assert lost(stumble) == [
        "directive.started",
        "directive.retry_scheduled",
        "directive.started",
        "zoo.animal.stumbled",
        "directive.succeeded",
    ]
    assert lost(refuse) == ["directive.started", "directive.failed"]
    assert lost(stalled)[0] == "directive.recovered"
    assert effects("cat") == effects("cow") == 1


def test_without_a_signals_table_a_request_is_refused_as_a_whole(alpha):
    with table_missing(), pytest.raises(ProgrammingError):
        ask_animal("work")
    assert not Directive.objects.exists()
    assert messages() == 0


@pytest.mark.parametrize("silently", [False, True])
@pytest.mark.parametrize("name", ["directive.started", "zoo.animal.worked", "directive.succeeded"])
def test_one_signal_that_is_refused_takes_no_other_with_it(alpha, name, silently):
    directive = ask_animal("work")
    with refusing(name, silently=silently):
        assert run(directive).kind == Kind.SUCCEEDED
    assert lost(directive) == [name]
    everything = ["directive.requested", "directive.started", "zoo.animal.worked", "directive.succeeded"]
    assert signal_names(directive) == [one for one in everything if one != name]
    assert effects("cat") == 1


def test_the_last_stalled_attempt_ends_even_when_nothing_can_be_said_of_it(alpha):
    directive = ask_animal("work")
    Directive.objects.update(max_attempts=1)
    crash(directive)
    with refusing("directive.recovered", "directive.failed"):
        assert run(directive).kind == Kind.FAILED
    assert lost(directive) == ["directive.recovered", "directive.failed"]


@pytest.mark.parametrize("silently", [False, True])
@pytest.mark.parametrize("name", ["directive.started", "zoo.animal.worked", "directive.succeeded"])
def test_a_batch_loses_only_the_signals_that_are_refused(alpha, name, silently):
    run(ask_animal("roam"))
    asked = [ask_animal("roam", str(number)) for number in range(3)]
    with refusing(name, silently=silently):
        outcomes = runner.run_due()
    assert [outcome.kind for outcome in outcomes] == [Kind.SUCCEEDED] * 3
    for directive in asked:
        assert lost(directive) == [name]
        assert len(signal_names(directive)) == 3


@pytest.mark.parametrize("step", ["recovered", "failed", "retry_scheduled"])
def test_other_steps_of_a_life_are_not_swallowed_without_a_word(alpha, step):
    directive = ask_animal({"retry_scheduled": "stumble", "failed": "refuse"}.get(step, "work"), times=1)
    if step == "recovered":
        crash(directive)
    with refusing(f"directive.{step}", silently=True):
        run(directive)
    assert lost(directive) == [f"directive.{step}"]


def test_a_taken_key_in_a_group_costs_one_directive_its_signal_and_no_other_anything(alpha, caplog):
    run(ask_animal("roam"))
    asked = [ask_animal("roam", str(number)) for number in range(3)]
    taken = f"zoo.animal.worked:alpha:1:{asked[1].pk}"
    bus.emit("a.b", dedupe_key=taken, actor=TESTER)
    assert [outcome.kind for outcome in runner.run_due()] == [Kind.SUCCEEDED] * 3
    assert [lost(directive) for directive in asked] == [[], ["zoo.animal.worked"], []]
    assert [effects(str(number)) for number in range(3)] == [1, 1, 1]
    assert f"signal {taken} is lost" in caplog.text


def test_a_taken_key_that_starts_an_attempt_is_named(alpha):
    directive = ask_animal("roam")
    bus.emit("a.b", dedupe_key=f"directive.started:alpha:{directive.pk}:1", actor=TESTER)
    assert run(directive).kind == Kind.SUCCEEDED
    assert lost(directive) == ["directive.started"]


@pytest.mark.parametrize("number", [1, 3])
def test_a_request_whose_signal_is_swallowed_is_refused_by_its_key_and_leaves_nothing(alpha, number):
    items = [("zoo.animal.work", {"animal": str(n)}, "", str(n)) for n in range(number)]
    with (
        refusing("directive.requested", silently=True),
        pytest.raises(Refused, match=r"directive\.requested:alpha:[0-9a-f-]{36}:0"),
    ):
        request_many(items, actor=TESTER)
    assert not Directive.objects.exists()
    assert messages() == 0
    assert all(answer.created for answer in request_many(items, actor=TESTER))


@pytest.mark.parametrize(
    ("operation", "signal"),
    [
        ("snooze", "snoozed"),
        ("run_now", "run_requested"),
        ("cancel", "canceled"),
        ("rerun", "rerun_requested"),
    ],
)
@pytest.mark.parametrize("how", ["swallowed", "taken"])
def test_an_operation_that_leaves_no_signal_is_refused_and_changes_nothing(alpha, operation, signal, how):
    directive = ask_animal("work")
    if operation == "rerun":
        run(directive)
    key = f"directive.{signal}:alpha:{directive.pk}:{directive.attempt}"
    if how == "taken":
        bus.emit("a.b", dedupe_key=key, actor=TESTER)
    before = Directive.objects.values().get()
    options = {"until": timezone.now() + timedelta(hours=1)} if operation == "snooze" else {}
    sent = messages()
    swallowing = refusing(f"directive.{signal}", silently=True) if how == "swallowed" else nullcontext()
    with swallowing, pytest.raises(Refused, match=key):
        getattr(operations, operation)(directive.pk, actor=TESTER, reason="why not", **options)
    assert Directive.objects.values().get() == before
    assert messages() == sent


def test_content_whose_signal_is_swallowed_is_not_stored(forum):
    with refusing("forum.thread.created", "forum.post.created", silently=True):
        with pytest.raises(Refused, match=r"forum\.thread\.created:alpha:"):
            content.create_thread(forum.category, "Quiet", actor=TESTER)
        posts = [Post(thread=forum.thread, content="x", author_id="a") for _ in range(2)]
        with pytest.raises(Refused, match=r"forum\.post\.created:alpha:"):
            content.store_new_posts(posts, actor=TESTER)
        with pytest.raises(Refused, match="its own key"):
            bus.emit("forum.post.created", dedupe_key="its own key", actor=TESTER)
    assert (Thread.objects.count(), Post.objects.count()) == (1, 3)


def test_a_batch_whose_signal_is_swallowed_is_refused(alpha):
    with refusing("directive.batch_requested", silently=True), pytest.raises(Refused, match="batch-1"):
        request_batch("batch-1", "zoo.animal.work", [{"animal": "cat"}], actor=TESTER, reason="all")
    assert not Directive.objects.exists()


def test_a_signal_that_may_be_written_later_is_not_lost_the_attempt_is_tried_again(alpha):
    directive = ask_animal("stumble")
    with refusing("directive.succeeded", state="40P01"):
        assert run(directive).kind == Kind.RETRY_SCHEDULED
        assert effects("cat") == 0
    make_due(directive)
    assert run(directive).kind == Kind.SUCCEEDED
    assert lost(directive) == []
    assert effects("cat") == 1


def test_nothing_is_said_to_be_lost_when_nothing_was(alpha):
    directive = ask_animal("work")
    run(directive)
    assert directive.metadata == {}
    assert directive.lost_signals == []
