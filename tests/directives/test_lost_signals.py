"""A signals table that is missing or refuses: the directive still runs, and says what it could not say."""

from contextlib import contextmanager

import pytest
from django.db import ProgrammingError

from directives import journal, runner
from directives.models import Directive
from directives.outcomes import Kind
from forums.models import Post
from signals.models import Signal
from tests.support import (
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
        RAISE EXCEPTION 'refused by the test: %', NEW.name USING ERRCODE = '{state}'; END IF;
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
def refusing(*names, state="P0001"):
    arguments = ", ".join(f"'{name}'" for name in names)
    with owner_cursor() as cursor:
        cursor.execute(REFUSE.replace("{state}", state))
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
    logged = [record.getMessage() for record in caplog.records if record.name == "directives.journal"]
    assert [f"signal {name}:alpha:" in line for name, line in zip(names, logged, strict=True)] == [True] * 3


def test_without_a_signals_table_a_failure_is_recorded_and_retried_and_recovered(alpha):
    stumble, refuse, silent = (
        ask_animal("stumble", times=1),
        ask_animal("refuse", "dog"),
        ask_animal("work", "cow"),
    )
    crash(silent)
    with table_missing():
        assert run(stumble).kind == Kind.RETRY_SCHEDULED
        make_due(stumble)
        assert run(stumble).kind == Kind.SUCCEEDED
        assert run(refuse).kind == Kind.FAILED
        assert run(silent).kind == Kind.SUCCEEDED
    assert lost(stumble) == [
        "directive.started",
        "directive.retry_scheduled",
        "directive.started",
        "zoo.animal.stumbled",
        "directive.succeeded",
    ]
    assert lost(refuse) == ["directive.started", "directive.failed"]
    assert lost(silent)[0] == "directive.recovered"
    assert effects("cat") == effects("cow") == 1


def test_without_a_signals_table_a_request_is_refused_as_a_whole(alpha):
    with table_missing(), pytest.raises(ProgrammingError):
        ask_animal("work")
    assert not Directive.objects.exists()
    assert messages() == 0


@pytest.mark.parametrize("name", ["directive.started", "zoo.animal.worked", "directive.succeeded"])
def test_one_signal_that_is_refused_takes_no_other_with_it(alpha, name):
    directive = ask_animal("work")
    with refusing(name):
        assert run(directive).kind == Kind.SUCCEEDED
    assert lost(directive) == [name]
    everything = ["directive.requested", "directive.started", "zoo.animal.worked", "directive.succeeded"]
    assert signal_names(directive) == [one for one in everything if one != name]
    assert effects("cat") == 1


def test_the_last_silent_attempt_ends_even_when_nothing_can_be_said_of_it(alpha):
    directive = ask_animal("work")
    Directive.objects.update(max_attempts=1)
    crash(directive)
    with refusing("directive.recovered", "directive.failed"):
        assert run(directive).kind == Kind.FAILED
    assert lost(directive) == ["directive.recovered", "directive.failed"]


def test_a_batch_loses_only_the_signals_that_are_refused(alpha):
    asked = [ask_animal("roam", str(number)) for number in range(3)]
    with refusing("directive.started"):
        outcomes = runner.run_due()
    assert [outcome.kind for outcome in outcomes] == [Kind.SUCCEEDED] * 3
    for directive in asked:
        assert lost(directive) == ["directive.started"]
    assert Signal.objects.filter(name="directive.succeeded").count() == 3


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
    assert journal.note_lost(directive, []) == {}
