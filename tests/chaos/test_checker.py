"""The checker finds each kind of violation, planted in an intact tenant."""

import json
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.utils import timezone

from directives import operations, runner
from directives.models import Directive, Restriction
from directives.queueing import adapter
from forums.models import Category, Post, Thread
from signals.models import Signal
from signals.types import Actor
from tests.chaos.harness.checks import check_town, leftovers
from tests.chaos.harness.checks.promises import Promises
from tests.chaos.harness.journal import Journal
from tests.chaos.harness.reading import read_town
from tests.recipes import forums
from tests.support import TESTER, ask, ask_animal, change, lose_wake_ups, make_due, owner_cursor

ANOTHER = Actor("agent", "another")


class Place:
    """A small forum and zoo after an honest day, with the journal of who asked for it."""

    def __init__(self, forum, path):
        self.forum, self.path = forum, path
        self.journal = Journal(path)
        self.number = 0

    def want(self, name, **options):
        key = f"alpha:0:{self.number}"
        self.number += 1
        self.journal.write(do="ask", request=self.number, tenant="alpha", keys=[key])
        if name.startswith("forum."):
            directive, created = ask(name, options.pop("payload"), idempotency_key=key, **options)
        else:
            directive, created = ask_animal(name, note=key, idempotency_key=key, **options), True
        self.answered(key, directive.id, created=created)
        return directive

    def answered(self, key, pk, *, created):
        answers = [[key, str(pk), created]]
        self.journal.write(did="ask", request=self.number, tenant="alpha", answers=answers)

    def operate(self, name, directive, **options):
        note = {"request": self.number, "tenant": "alpha", "name": name, "id": str(directive.id)}
        self.journal.write(do="operate", **note)
        getattr(operations, name)(directive.id, actor=TESTER, reason="a test", **options)
        self.journal.write(did="operate", answer="done", **note)

    def hide(self, name="hide"):
        return self.want(f"forum.post.{name}", payload={"post_id": str(self.forum.posts[0].pk)})

    def lock(self, **options):
        return self.want("forum.thread.lock", payload={"thread_id": str(self.forum.thread.pk)}, **options)

    def create(self):
        fields = {"content": f"alpha:0:{self.number}", "author_id": "bot", "client_request_id": "1"}
        return self.want("forum.post.create", payload={"thread_id": str(self.forum.thread.pk), **fields})

    def violations(self):
        promises = Promises()
        promises.add(self.path)
        town = read_town()
        return [*check_town(town, promises), *leftovers.check_apart(town)]


@pytest.fixture
def place(forum, tmp_path):
    place = Place(forum, tmp_path / "journal.jsonl")
    place.worked = [place.want("work", animal="cat") for _ in range(2)]
    place.roamed, place.refused = place.want("roam"), place.want("refuse", animal="dog")
    place.stumbled = place.want("stumble", animal="cow", times=1, seconds=60)
    place.hidden, place.unhidden, place.posted = place.hide(), place.hide("unhide"), place.create()
    place.canceled, place.later = place.want("work", animal="pig"), place.want("work", animal="hen")
    place.operate("cancel", place.canceled)
    place.operate("snooze", place.later, until=timezone.now() + timedelta(hours=1))
    hour = timezone.now() + timedelta(hours=1)
    place.locked, place.locked_by_another = place.lock(expires_at=hour), place.lock(actor=ANOTHER)
    runner.run_due()
    # By its time, by undo, and by being replaced; the last one stays.
    place.timer = Directive.objects.get(name="restriction.end")
    make_due(place.timer)
    place.operate("undo", place.locked_by_another)
    place.undo = Directive.objects.get(name="restriction.end", causation_id=place.locked_by_another.id)
    place.replaced = place.lock()
    runner.run_due()
    place.lasting = place.lock(expires_at=hour)
    make_due(place.stumbled)
    place.operate("rerun", place.roamed)
    runner.run_due()
    assert place.violations() == []
    return place


def tamper(statement, *arguments):
    """Run SQL on the active tenant's tables, past the triggers."""
    with owner_cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(statement, arguments)
        assert cursor.rowcount == 1
        cursor.execute("SET session_replication_role = DEFAULT")


def signal(directive, name):
    """Name one signal of a directive in a WHERE."""
    return f"name = '{name}' AND causation_id = '{directive.id}'"


def shift(directive, name, seconds):
    tamper(
        f"UPDATE signals_signal SET recorded_at = recorded_at + %s WHERE {signal(directive, name)}",
        timedelta(seconds=seconds),
    )


def double_an_effect(place):
    forums.category.make(name="cat alpha:0:0")
    return place.worked[0].id, "1 effects; found 2"


def remove_an_effect(place):
    Category.objects.filter(name="cat alpha:0:0").delete()
    return place.worked[0].id, "1 effects; found 0"


def leave_an_effect_of_a_failure(place):
    forums.category.make(name="dog alpha:0:3")
    return "dog alpha:0:3", "0 effects; found 1"


def let_succeed_what_cannot(place):
    change(place.worked[0], name="zoo.animal.refuse")
    return place.worked[0].id, "zoo.animal.refuse to fail whatever happens"


def remove_a_signal(place):
    tamper(f"DELETE FROM signals_signal WHERE {signal(place.worked[0], 'directive.started')}")
    return place.worked[0].id, "when requested; found succeeded"


def put_signals_out_of_order(place):
    shift(place.worked[0], "directive.started", -1000)
    return place.worked[0].id, "expected one of requested when nothing; found started"


def tell_a_success_twice(place):
    same = "name, payload, metadata, occurred_at, recorded_at, actor_type, actor_id, actor_label,"
    same += " subject_type, subject_id, source, correlation_id, causation_id"
    tamper(
        f"INSERT INTO signals_signal (id, dedupe_key, {same}) SELECT gen_random_uuid(), dedupe_key || ':2',"
        f" {same} FROM signals_signal WHERE {signal(place.refused, 'directive.failed')}"
    )
    return place.refused.id, "when failed; found failed"


def name_another_attempt(place):
    change(place.worked[0], attempt=2)
    return place.worked[
        0
    ].id, "succeeded after attempt 1, as its signals say; found succeeded after attempt 2"


def name_another_status(place):
    change(place.worked[0], status="failed")
    return place.worked[0].id, "succeeded after attempt 1, as its signals say; found failed"


def leave_one_due(place):
    make_due(place.later)
    return place.later.id, "ended, or requested and due later; found requested, due at"


def leave_one_running(place):
    change(place.later, status="running", lease_expires_at=timezone.now())
    return place.later.id, "ended, or requested and due later; found running"


def lose_a_directive(place):
    tamper("DELETE FROM directives_directive WHERE id = %s", place.worked[0].id)
    return place.worked[0].id, "the directive that was promised for alpha:0:0; found none"


def leave_a_signal_of_nobody(place):
    tamper("DELETE FROM directives_directive WHERE id = %s", place.worked[0].id)
    return place.worked[0].id, "expected a directive; found only its signal directive.requested"


def promise_one_key_twice(place):
    place.answered("alpha:0:0", place.worked[1].id, created=True)
    return "alpha:0:0", "one directive for one key"


def change_a_key(place):
    change(place.worked[0], idempotency_key="alpha:0:99")
    return place.worked[0].id, "expected the key alpha:0:0; found alpha:0:99"


def let_somebody_else_ask(place):
    stray = ask_animal("refuse", "stray")
    runner.run_due()
    return stray.id, "somebody in this tenant to have asked"


def forget_an_operation(place):
    note = {"request": 1, "tenant": "alpha", "name": "cancel", "id": str(place.worked[0].id)}
    place.journal.write(do="operate", **note)
    place.journal.write(did="operate", answer="done", **note)
    return place.worked[0].id, "1 to 1 times directive.canceled; found 0"


def operate_unasked(place):
    operations.snooze(place.later.id, timezone.now() + timedelta(hours=2), actor=TESTER, reason="a test")
    return place.later.id, "1 to 1 times directive.snoozed; found 2"


def refuse_a_request(place):
    place.journal.write(do="ask", request=1, tenant="alpha", keys=["alpha:0:77"])
    place.journal.write(did="ask", request=1, tenant="alpha", answers="error: KeyError: 1")
    return "alpha:0:77", "to be accepted; found error: KeyError: 1"


def give_a_post_another_status(place):
    post = place.forum.posts[0]
    Post.objects.filter(pk=post.pk).update(status="deleted")
    return post.subject, "published at revision 3; found deleted at revision 3"


def give_a_post_another_revision(place):
    post = place.forum.posts[0]
    Post.objects.filter(pk=post.pk).update(revision=4)
    return post.subject, "published at revision 3; found published at revision 4"


def remove_a_fact(place):
    tamper(f"DELETE FROM signals_signal WHERE {signal(place.hidden, 'forum.post.hidden')}")
    return place.hidden.id, "the facts ['forum.post.hidden']; found []"


def skip_a_revision(place):
    tamper(f"DELETE FROM signals_signal WHERE {signal(place.hidden, 'forum.post.hidden')}")
    return place.forum.posts[0].subject, "forum.post.unhidden with {'before': 'published', 'revision': 2}"


def remove_a_post(place):
    Post.objects.filter(directive_id=place.posted.id).delete()
    return place.posted.id, "found []"


def post_without_success(place):
    post = forums.post.make(thread=place.forum.thread, content="alpha:0:0", directive_id=uuid4())
    return post.directive_id, "expected a directive; found only its posts"


def post_something_else(place):
    Post.objects.filter(directive_id=place.posted.id).update(content="alpha:0:9 or so")
    return place.posted.id, "found alpha:0:9 or so"


def run_two_of_a_line_at_once(place):
    shift(place.worked[0], "directive.succeeded", 20)
    return place.worked[1].id, f"to start after {place.worked[0].id} attempt 1"


def let_one_pass_another(place):
    first, second = place.worked
    for name in ("directive.started", "zoo.animal.worked", "directive.succeeded"):
        shift(first, name, 20)
    for name in ("directive.started", "zoo.animal.worked", "directive.succeeded"):
        shift(second, name, 10)
    return second.id, f"to wait for {first.id}, which stood before it"


def let_two_handlers_overlap(place):
    tamper(
        "UPDATE signals_signal SET payload = jsonb_set(payload, '{result,ended}', '1e12')"
        f" WHERE {signal(place.worked[0], 'directive.succeeded')}"
    )
    return place.worked[1].id, f"to begin after {place.worked[0].id}"


def leave_something_of_another_tenant(place):
    forums.category.make(name="cat beta:0:0")
    return "cat beta:0:0", "what is of alpha; found beta:0:0"


def lose_signals(place):
    change(place.worked[0], metadata={"lost_signals": ["directive.started"]})
    return place.worked[0].id, "no lost signals; found directive.started"


def change_a_result(place):
    change(place.worked[0], result={"note": "another"})
    return place.worked[0].id, "the result {"


def open_what_has_ended(place):
    change(place.worked[0], completed_at=None)
    return place.worked[0].id, "a time of completion when it has ended"


def correlate_with_others(place):
    tamper(
        f"UPDATE signals_signal SET correlation_id = 'x' WHERE {signal(place.hidden, 'forum.post.hidden')}"
    )
    return place.hidden.id, "found x"


def alter_restriction(directive, changes, *arguments):
    tamper(f"UPDATE directives_restriction SET {changes} WHERE directive_id = %s", *arguments, directive.id)
    return Restriction.objects.get(directive_id=directive.id)


def say_in_a_result(directive, key, value):
    place_of = f"{{result,{key}}}"
    tamper(
        "UPDATE signals_signal SET payload = jsonb_set(payload, %s, %s) WHERE "
        + signal(directive, "directive.succeeded"),
        place_of,
        json.dumps(value),
    )


def leave_a_status_behind_its_restrictions(place):
    restriction = alter_restriction(place.hidden, "ended_at = NULL, ended_by = NULL")
    return str(restriction.subject), "hidden, as its restrictions say; found published"


def hide_a_thread_without_a_restriction(place):
    Thread.objects.update(is_hidden=True)
    return place.forum.thread.subject, "locked, as its restrictions say; found locked, hidden"


def restrict_without_a_success(place):
    restriction = alter_restriction(place.hidden, "directive_id = directive_id")
    tamper("UPDATE directives_restriction SET directive_id = %s WHERE id = %s", uuid4(), restriction.pk)
    return restriction.pk, "one success that began it"


def begin_a_restriction_twice(place):
    restriction = Restriction.objects.get(directive_id=place.locked.id)
    say_in_a_result(place.locked_by_another, "restriction", str(restriction.pk))
    return restriction.pk, "one success that began it"


def lose_a_restriction(place):
    restriction = Restriction.objects.get(directive_id=place.hidden.id)
    tamper("DELETE FROM directives_restriction WHERE id = %s", restriction.pk)
    return place.hidden.id, f"the restriction {restriction.pk}; found none"


def begin_a_restriction_of_another_kind(place):
    restriction = alter_restriction(place.hidden, "kind = 'deleted'")
    return restriction.pk, "one success that began it"


def end_a_restriction_by_another(place):
    restriction = alter_restriction(place.hidden, "ended_by = %s", place.timer.id)
    return restriction.pk, f"to be ended by ['{place.timer.id}']; found ['{place.unhidden.id}']"


def end_a_restriction_twice(place):
    restriction = Restriction.objects.get(directive_id=place.hidden.id)
    say_in_a_result(place.timer, "ended", [str(restriction.pk)])
    return restriction.pk, f"to be ended by ['{place.unhidden.id}']; found ["


def end_what_nobody_ended(place):
    restriction = alter_restriction(place.lasting, "ended_at = now(), ended_by = %s", uuid4())
    return restriction.pk, "to be ended by ['"


def lift_what_was_requested_later(place):
    restriction = alter_restriction(place.hidden, "requested_at = requested_at + interval '1 day'")
    return restriction.pk, "to be ended by what is about it; found forum.post.unhide"


def let_a_timer_end_what_has_another_time(place):
    restriction = alter_restriction(place.locked, "until = until + interval '1 hour'")
    return restriction.pk, "to be ended by what is about it; found restriction.end"


def end_another_one(place):
    payload = place.timer.payload | {"restriction_id": str(uuid4())}
    change(place.timer, payload=payload)
    return Restriction.objects.get(directive_id=place.locked.id).pk, "found restriction.end"


def undo_another_one(place):
    change(place.undo, idempotency_key=f"undo:alpha:{place.locked.id}:1")
    restriction = Restriction.objects.get(directive_id=place.locked_by_another.id)
    return restriction.pk, "to be ended by what is about it; found restriction.end"


def replace_somebody_elses(place):
    restriction = alter_restriction(place.replaced, "actor_id = 'somebody else'")
    return restriction.pk, "to be ended by what is about it; found forum.thread.lock"


def forget_the_time_of_a_restriction(place):
    restriction = alter_restriction(place.lasting, "until = now() - interval '1 minute'")
    return restriction.pk, f"to have ended at {restriction.until}"


def use_another_key(place):
    tamper(
        "UPDATE signals_signal SET dedupe_key = 'beta' || dedupe_key WHERE "
        + signal(place.hidden, "forum.post.hidden")
    )
    return place.hidden.id, "a key of forum.post.hidden in alpha"


PLANTS = [
    *(double_an_effect, remove_an_effect, leave_an_effect_of_a_failure, let_succeed_what_cannot),
    *(remove_a_signal, put_signals_out_of_order, tell_a_success_twice, name_another_attempt),
    *(name_another_status, leave_one_due, leave_one_running, lose_a_directive, leave_a_signal_of_nobody),
    *(promise_one_key_twice, change_a_key, let_somebody_else_ask, forget_an_operation, operate_unasked),
    *(refuse_a_request, give_a_post_another_status, give_a_post_another_revision, remove_a_fact),
    *(skip_a_revision, remove_a_post, post_without_success, post_something_else),
    *(run_two_of_a_line_at_once, let_one_pass_another, let_two_handlers_overlap),
    *(leave_something_of_another_tenant, lose_signals, change_a_result, open_what_has_ended),
    *(correlate_with_others, use_another_key),
    *(leave_a_status_behind_its_restrictions, hide_a_thread_without_a_restriction),
    *(restrict_without_a_success, begin_a_restriction_twice, begin_a_restriction_of_another_kind),
    *(lose_a_restriction, end_a_restriction_by_another, end_a_restriction_twice, end_what_nobody_ended),
    *(lift_what_was_requested_later, let_a_timer_end_what_has_another_time, end_another_one),
    *(undo_another_one, replace_somebody_elses, forget_the_time_of_a_restriction),
]


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
def test_a_planted_violation_is_found(place, plant):
    about, text = plant(place)
    found = [str(violation) for violation in place.violations()]
    assert any(str(about) in one and text in one and one.startswith("alpha") for one in found), found


def test_what_was_asked_for_once_more_by_another_is_no_violation(place):
    payload = {"thread_id": str(place.forum.thread.pk)}
    key = place.lasting.idempotency_key
    ask(
        "forum.thread.lock",
        payload,
        actor=ANOTHER,
        idempotency_key=key,
        expires_at=place.lasting.expires_at,
    )
    assert Signal.objects.filter(name="directive.requested_again").exists()
    assert place.violations() == []


def test_a_message_that_no_directive_needs_is_found(alpha):
    lose_wake_ups()
    planned = ask_animal("work", scheduled_at=timezone.now() + timedelta(hours=1))
    assert list(leftovers.check_queue([read_town()])) == []
    change(planned, scheduled_at=planned.scheduled_at + timedelta(minutes=1))
    [violation] = leftovers.check_queue([read_town()])
    assert (violation.tenant, violation.expected) == ("alpha", "an empty queue")
    lose_wake_ups()
    adapter.wake(alpha)
    assert len(list(leftovers.check_queue([read_town()]))) == 1


def test_a_session_that_is_left_in_a_transaction_is_found(alpha):
    other = connection.copy()
    try:
        other.set_autocommit(False)
        other.cursor().execute("SELECT 1")
        assert "idle in transaction" in [violation.found for violation in leftovers.check_sessions()]
    finally:
        other.close()


def test_a_claim_of_a_stopped_worker_may_have_looked_long_before(place):
    let_one_pass_another(place)
    started = read_town().life[str(place.worked[1].id)][1]
    worker = int(started.payload["worker"].rpartition(":")[2])
    for stopped, wrong in ((), True), ([worker], False):
        found = [str(one) for one in check_town(read_town(stopped))]
        assert any("which stood before it" in one for one in found) == wrong
