"""A row that cannot be handled ends `failed` with its error, by itself; other directives still execute."""

from contextlib import ExitStack, contextmanager
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.db import ProgrammingError, connection, transaction

from directives import registry, runner, tasks
from directives.executing import attempts
from directives.lifecycle import claims, failures, transitions
from directives.models import Directive
from directives.outcomes import Kind
from fleetprompt.telemetry import work
from fleetprompt.tenants.context import in_tenant, is_public
from signals.models import Signal
from tests.admin import client_of
from tests.support import (
    ask,
    ask_animal,
    claim,
    crash,
    lose_wake_ups,
    make_forum,
    meanwhile,
    owner_cursor,
    qcluster,
    run,
    signal_names,
    somebody_waits,
    states,
    thinned,
    wait_until,
)

HUGE = """('{"animal": 1' || repeat('0', 5000) || '}')::jsonb"""
DEEP = "(repeat('[', 3000) || repeat(']', 3000))::jsonb"
FAILED, ANY = {"failed"}, {"failed", "succeeded"}
BAD = {
    "payload null": ("payload = 'null'", FAILED),
    "payload list": ("payload = '[1]'", FAILED),
    "payload number": ("payload = '5'", FAILED),
    "payload text": ("payload = '\"x\"'", FAILED),
    "payload without its fields": ("payload = '{}'", FAILED),
    "payload with a number too long": (f"payload = {HUGE}", FAILED),
    "payload too deep": (f"payload = {DEEP}", FAILED),
    "metadata null": ("metadata = 'null'", ANY),
    "metadata list": ("metadata = '[1]'", ANY),
    "metadata number": ("metadata = '5'", ANY),
    "metadata text": ("metadata = '\"x\"'", ANY),
    "metadata with a number too long": (f"metadata = {HUGE}", FAILED),
    "lost_signals number": ("""metadata = '{"lost_signals": 5}'""", ANY),
    "lost_signals text": ("""metadata = '{"lost_signals": "x"}'""", ANY),
    "lost_signals null": ("""metadata = '{"lost_signals": null}'""", ANY),
    "lost_signals object": ("""metadata = '{"lost_signals": {"a": 1}}'""", ANY),
    "lost_signals of numbers": ("""metadata = '{"lost_signals": [1, null]}'""", ANY),
    "traceparent number": ("""metadata = '{"traceparent": 5}'""", ANY),
    "result list": ("result = '[1]'", ANY),
    "result null": ("result = 'null'", ANY),
    "result with a number too long": (f"result = {HUGE}", FAILED),
    "actor of an unknown type": ("actor_type = 'ghost'", FAILED),
    "actor without an id": ("actor_id = ''", FAILED),
    "subject of an odd type": ("subject_type = 'No Dots'", FAILED),
    "subject without an id": ("subject_type = 'zoo.animal', subject_id = ''", FAILED),
    "created at the end of time": ("created_at = 'infinity'", FAILED),
    "queued before all time": ("queued_at = '-infinity'", FAILED),
    "last error before Christ": ("last_error_at = '0044-03-15 BC'", FAILED),
    "more attempts than there are numbers": ("max_attempts = 2147483647", ANY),
}
REQUESTED = BAD | {
    "no attempt left": ("attempt = max_attempts", FAILED),
    "no attempt at all": ("max_attempts = 0", FAILED),
    "no further number": ("attempt = 2147483647, max_attempts = 2147483647", FAILED),
    "due before all time": ("scheduled_at = '-infinity'", FAILED),
    "started at the end of time": ("started_at = 'infinity'", ANY),
}
STALLED = BAD | {
    "no attempt left": ("attempt = max_attempts", FAILED),
    "started at the end of time": ("started_at = 'infinity'", FAILED),
    "stalled since before all time": ("lease_expires_at = '-infinity'", FAILED),
    "not begun, no further number": (
        "started_at = NULL, attempt = 2147483647, max_attempts = 2147483647",
        FAILED,
    ),
}
READABLE = [
    what
    for what in BAD
    if what.startswith(("payload", "metadata", "lost_signals", "result", "subject")) and " too " not in what
]


def spoil(directive, assignments):
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE directives_directive SET {assignments} WHERE id = %s", [directive.pk])


def story(pk):
    """Return how a directive stands, without reading what may be unreadable."""
    return Directive.objects.values("status", "attempt", "last_error").get(pk=pk)


@pytest.fixture
def lenient(database):
    """Let the tenant alpha have actors of any type, as a later version's rows may have."""
    with in_tenant("alpha"):
        with owner_cursor() as cursor:
            cursor.execute("ALTER TABLE directives_directive DROP CONSTRAINT directive_actor_type")
        yield
        connection.close()
        with owner_cursor() as cursor:
            cursor.execute("DELETE FROM directives_directive")
            cursor.execute(
                "ALTER TABLE directives_directive ADD CONSTRAINT directive_actor_type"
                " CHECK (actor_type IN ('user', 'agent', 'system'))"
            )


def by_run_due():
    runner.run_due()


def by_time_slices():
    tasks.work("alpha")


def by_groups():
    for handler in registry.handlers():
        attempts.seconds_by_name[handler.name] = 0.0
    runner.run_due()


def by_run():
    for pk in Directive.objects.filter(status__in=["requested", "running"]).values_list("pk", flat=True):
        runner.run(pk)


def check(bad, goods, allowed):
    """See that the bad one has ended with its error on record, and that the others went on."""
    found = story(bad.pk)
    assert found["status"] in allowed, found
    if found["status"] == "failed":
        assert found["last_error"]
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT metadata::text LIKE '%%directive.failed%%' FROM directives_directive WHERE id = %s",
                [bad.pk],
            )
            [(named,)] = cursor.fetchall()
        assert named or signal_names(bad)[-1] == "directive.failed"
    assert [story(good.pk)["status"] for good in goods] == ["succeeded"] * len(goods)


def check_the_next():
    assert run(ask_animal("work", "late")).kind == Kind.SUCCEEDED
    assert tasks.work("alpha") == 0


@pytest.mark.parametrize("what", thinned(REQUESTED, every=3))
def test_a_requested_one_that_cannot_be_handled_stops_nobody(lenient, what):
    assignments, allowed = REQUESTED[what]
    before, bad, after = (ask_animal("work", animal) for animal in ("before", "bad", "after"))
    spoil(bad, assignments)
    runner.run_due()
    check(bad, [before, after], allowed)
    check_the_next()


@pytest.mark.parametrize("what", thinned(STALLED, every=3))
def test_a_stalled_one_that_cannot_be_handled_stops_nobody(lenient, what):
    assignments, allowed = STALLED[what]
    mate, bad, good = (ask_animal("work", animal) for animal in ("mate", "bad", "good"))
    spoil(bad, "max_attempts = 1")
    crash(mate)
    crash(bad)
    spoil(bad, assignments)
    runner.run_due()
    check(bad, [mate, good], allowed)
    check_the_next()


@pytest.mark.parametrize("go", thinned([by_run_due, by_time_slices, by_groups, by_run], every=2))
@pytest.mark.parametrize("stalled", [False, True])
def test_many_at_once_stop_nobody_however_they_are_run(lenient, go, stalled):
    kinds = STALLED if stalled else REQUESTED
    goods, bad = [], {}
    for number, what in enumerate(kinds):
        goods.append(ask_animal("work", f"good {number}"))
        bad[what] = ask_animal("work", f"bad {number}")
        if stalled:
            spoil(bad[what], "max_attempts = 1")
            crash(bad[what])
        spoil(bad[what], kinds[what][0])
    go()
    while go is by_time_slices and tasks.work("alpha"):
        pass
    for what, directive in bad.items():
        check(directive, goods, kinds[what][1])
    check_the_next()


def test_what_is_set_aside_is_told_with_its_error_and_does_not_hold_its_line(lenient, caplog):
    bad, next_one = ask_animal("work"), ask_animal("work")
    spoil(bad, "actor_type = 'ghost'")
    outcomes = {one.directive_id: one for one in runner.run_due()}
    assert outcomes[bad.pk].kind == Kind.FAILED
    assert "expected one of user, agent, system; got 'ghost'" in outcomes[bad.pk].reason
    assert outcomes[next_one.pk].kind == Kind.SUCCEEDED
    told = Signal.objects.get(name="directive.failed", causation_id=str(bad.pk))
    assert (told.actor_id, told.payload["error"]) == ("runner", outcomes[bad.pk].reason)
    assert f"{bad.pk} is set aside" in caplog.text


@contextmanager
def frozen(directive):
    """Let nobody change a row, whoever it is."""
    with owner_cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION test_freeze() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN IF OLD.id = '{directive.pk}' THEN RAISE EXCEPTION 'frozen'; END IF;"
            " RETURN NEW; END $$;"
            "CREATE TRIGGER test_freeze BEFORE UPDATE ON directives_directive"
            " FOR EACH ROW EXECUTE FUNCTION test_freeze()"
        )
    try:
        yield
    finally:
        with owner_cursor() as cursor:
            cursor.execute("DROP TRIGGER test_freeze ON directives_directive; DROP FUNCTION test_freeze")


@pytest.mark.parametrize("stalled", [False, True])
def test_one_that_cannot_even_be_set_aside_is_passed_over(alpha, caplog, stalled):
    stuck, good = ask_animal("work", "stuck"), ask_animal("work", "good")
    if stalled:
        crash(stuck)
    with frozen(stuck):
        assert [one.directive_id for one in runner.run_due(1)] == [good.pk]
        assert runner.run(stuck.pk).kind == Kind.DISCARDED
        assert tasks.work("alpha") == 0
    assert f"{stuck.pk} cannot even be set aside" in caplog.text
    assert run(stuck).kind == Kind.SUCCEEDED


@pytest.mark.parametrize("stalled", [False, True])
def test_what_is_wrong_with_the_schema_is_no_rows_fault(alpha, stalled):
    asked = [ask_animal("work", animal) for animal in ("cat", "dog")]
    if stalled:
        for directive in asked:
            crash(directive)
    before = states(*asked)
    with owner_cursor() as cursor:
        cursor.execute("ALTER TABLE directives_directive RENAME COLUMN personal TO why")
    try:
        with pytest.raises(ProgrammingError):
            runner.run_due()
    finally:
        connection.close()
        with owner_cursor() as cursor:
            cursor.execute("ALTER TABLE directives_directive RENAME COLUMN why TO personal")
    assert states(*asked) == before
    runner.run_due()
    assert states(*asked) == ["succeeded"] * 2


def test_the_row_is_left_alone_when_another_attempt_has_taken_over(alpha):
    directive = ask_animal("work")
    crash(directive)
    [taken] = claims.claim(runner.active_tenant(), 1, token=uuid4()).directives
    outcome = failures.set_aside(directive.pk, runner.active_tenant(), ValueError("late"), attempt=1)
    assert outcome.kind == Kind.DISCARDED
    assert story(taken.pk)["status"] == "running"


def take_over(directive):
    transitions.take_over([directive], lease=3600, token=uuid4())


def succeed(directive):
    transitions.succeed([directive], [{}], [None])


def cancel(directive):
    transitions.cancel(directive.pk)


@pytest.mark.parametrize(
    ("before", "change_status"),
    [("running", take_over), ("running", succeed), ("requested", cancel)],
    ids=["taken over", "succeeded", "canceled"],
)
def test_a_row_that_changes_between_the_look_and_the_update_is_not_set_aside(alpha, before, change_status):
    directive = ask_animal("work")
    if before == "running":
        directive = claim(directive)
    with ExitStack() as stack, transaction.atomic():
        change_status(directive)
        after = story(directive.pk)
        outcomes = stack.enter_context(
            meanwhile(lambda: failures.set_aside(directive.pk, runner.active_tenant(), ValueError("late")))
        )
        wait_until(somebody_waits, "it has read the row, and waits to change it")
    assert outcomes[0].kind == Kind.DISCARDED
    assert story(directive.pk) == after
    assert "directive.failed" not in signal_names(directive)


def test_an_error_after_an_attempt_was_recorded_leaves_it_as_it_is(alpha, monkeypatch):
    failing, working = ask_animal("stumble", times=1, seconds=60), ask_animal("work", "dog")

    def full_disk(attempt, outcome):
        raise OSError("no space left on device")

    monkeypatch.setattr(work.Attempt, "ended", full_disk)
    runner.run_due()
    assert states(failing, working) == ["requested", "succeeded"]


def test_a_real_cluster_gets_past_bad_rows(lenient, tmp_path):
    bad = {what: ask_animal("work", f"bad {n}") for n, what in enumerate(REQUESTED)}
    for what, directive in bad.items():
        spoil(directive, REQUESTED[what][0])
    goods = [ask_animal("work", f"good {n}") for n in range(5)]
    lose_wake_ups()
    with qcluster(tmp_path / "log"):
        goods.append(ask_animal("work", "later"))
        wait_until(
            lambda: not Directive.objects.filter(status__in=["requested", "running"]).exists(), "all ended"
        )
    for what, directive in bad.items():
        assert story(directive.pk)["status"] in REQUESTED[what][1], what
    assert [story(good.pk)["status"] for good in goods] == ["succeeded"] * 6
    assert not is_public()


@pytest.mark.parametrize("what", READABLE)
def test_people_can_look_at_it_and_ask_again(database, capsys, what):
    assignments, _ = BAD[what]
    with in_tenant("alpha"):
        payload = {"post_id": str(make_forum(1).posts[0].pk)}
        bad = ask("forum.post.hide", payload).directive
        spoil(bad, assignments)
        runner.run(bad.pk)
        # What the runner has written is spoilt as well.
        spoil(bad, assignments)
        call_command("directive", "show", str(bad.pk), "--tenant", "alpha")
        assert ask("forum.post.hide", payload).directive.payload["post_id"] == payload["post_id"]
        assert ask("forum.post.unhide", payload).created
    assert str(bad.pk) in capsys.readouterr().out
    root = client_of("root", superuser=True)
    assert bad.idempotency_key in root.text(f"directives/directive/{bad.pk}/change/")
