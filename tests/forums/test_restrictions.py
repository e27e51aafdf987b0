"""Restrictions of posts and threads: what begins, what ends, and the status that follows."""

import re
import threading
from datetime import timedelta
from importlib import import_module
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from directives import operations, restrictions
from directives.errors import InvalidPayload, KeyConflict, Refused
from directives.models import Directive, Restriction
from directives.requests import DirectiveRequest, request, request_many
from directives.restricting.values import Plan, Wanted
from directives.runner import run_due
from fleetprompt.postgres.queries import execute
from fleetprompt.tenants.context import in_tenant
from forums.models import Post, Thread
from signals.models import Signal
from signals.types import Actor
from tests.recipes import forums
from tests.support import make_forum, somebody_waits, wait_until

MIRA, ADA = Actor("agent", "mira"), Actor("agent", "ada")


def post_status(forum):
    return Post.objects.get(pk=forum.posts[0].pk).status


def thread_status(forum):
    return Thread.objects.get(pk=forum.thread.pk).status


def ask_for(forum, name, actor=MIRA, reason="why not", **more):
    about = {"post_id": str(forum.posts[0].pk)}
    if ".thread." in name:
        about = {"thread_id": str(forum.thread.pk)}
    return request(name, about | more, actor=actor, reason=reason).directive


def do(forum, name, actor=MIRA, reason="why not", **more):
    directive = ask_for(forum, name, actor, reason, **more)
    run_due()
    return Directive.objects.get(pk=directive.pk)


def end(restriction, actor=ADA):
    about = {"type": restriction.subject_type, "id": restriction.subject_id}
    payload = {"subject": about, "restriction_id": str(restriction.pk)}
    directive = request("restriction.end", payload, actor=actor, reason="over").directive
    run_due()
    return Directive.objects.get(pk=directive.pk)


def put_off(directive):
    until = timezone.now() + timedelta(hours=1)
    operations.snooze(directive.pk, until, actor=MIRA, reason="later")


def test_a_deleted_post_is_not_unhidden(forum):
    do(forum, "forum.post.delete", ADA, "doxxing")
    refused = do(forum, "forum.post.unhide")
    assert refused.status == "failed"
    assert "is deleted, by agent:ada on 20" in refused.last_error
    assert refused.last_error.endswith("UTC: doxxing")
    assert post_status(forum) == "deleted"


def test_hidden_then_deleted_then_restored_is_hidden(forum):
    hidden = do(forum, "forum.post.hide")
    do(forum, "forum.post.delete", ADA)
    assert post_status(forum) == "deleted"
    restored = do(forum, "forum.post.restore", ADA)
    assert restored.result["still_restricted_by"] == [str(hidden.pk)]
    assert (post_status(forum), Post.objects.get(pk=forum.posts[0].pk).revision) == ("hidden", 4)


def test_a_deleted_post_cannot_be_hidden(forum):
    do(forum, "forum.post.delete", ADA)
    assert "is deleted, by agent:ada" in do(forum, "forum.post.hide").last_error
    assert Restriction.objects.count() == 1


def test_a_deleted_post_keeps_its_text(forum):
    do(forum, "forum.post.delete")
    assert Post.objects.get(pk=forum.posts[0].pk).content == "Post 0"


def test_a_hide_that_waits_is_lifted_by_the_unhide_behind_it(forum):
    ask_for(forum, "forum.post.hide")
    unhide = do(forum, "forum.post.unhide", ADA)
    assert (post_status(forum), unhide.status) == ("published", "succeeded")


def test_what_was_requested_after_a_lift_stays(forum):
    """The lift waits for its time, and meanwhile somebody locks the thread for another reason."""
    do(forum, "forum.thread.lock")
    unlock = ask_for(forum, "forum.thread.unlock")
    put_off(unlock)
    legal = do(forum, "forum.thread.lock", ADA, "legal hold")
    operations.run_now(unlock.pk, actor=MIRA, reason="it is time")
    run_due()
    unlock.refresh_from_db()
    assert (unlock.status, thread_status(forum)) == ("succeeded", "locked")
    assert unlock.result["changed"] is False
    assert unlock.result["still_restricted_by"] == [str(legal.pk)]


def test_a_rerun_is_requested_anew(forum):
    lock = do(forum, "forum.thread.lock")
    do(forum, "forum.thread.unlock")
    later = ask_for(forum, "forum.thread.unlock", ADA)
    put_off(later)
    operations.rerun(lock.pk, actor=MIRA, reason="again")
    run_due()
    operations.run_now(later.pk, actor=ADA, reason="it is time")
    run_due()
    later.refresh_from_db()
    assert (later.result["changed"], thread_status(forum)) == (False, "locked")


def test_asking_again_replaces_ones_own(forum):
    do(forum, "forum.thread.lock", MIRA, "flames")
    again = do(forum, "forum.thread.lock", MIRA, "still flames", policy="1.2")
    other = do(forum, "forum.thread.lock", ADA, "legal hold")
    active = Restriction.objects.filter(ended_at=None).order_by("since")
    assert [(one.actor, one.directive_id) for one in active] == [(MIRA, again.pk), (ADA, other.pk)]
    assert other.result["changed"] is False
    assert thread_status(forum) == "locked"


def test_one_restriction_ends_and_the_others_stay(forum):
    do(forum, "forum.thread.lock", MIRA)
    do(forum, "forum.thread.lock", ADA)
    first, second = Restriction.objects.order_by("since")
    ended = end(first)
    assert ended.result["still_restricted_by"] == [str(second.directive_id)]
    assert thread_status(forum) == "locked"
    assert "ended on 20" in end(first).last_error
    assert end(second).result["status"] == "open"


def test_a_restriction_of_another_tenant_is_not_there(database):
    with in_tenant("beta"):
        do(make_forum(), "forum.thread.lock")
        foreign = Restriction.objects.get()
    with in_tenant("alpha"):
        forum = make_forum()
        foreign.subject_id = str(forum.thread.pk)
        do(forum, "forum.thread.lock")
        assert "has no restriction" in end(foreign).last_error
        assert thread_status(forum) == "locked"


@pytest.mark.parametrize(
    ("restrict", "lift", "status", "is_hidden"),
    [
        ("forum.thread.lock", "forum.thread.unlock", "locked", False),
        ("forum.thread.archive", "forum.thread.unarchive", "archived", False),
        ("forum.thread.hide", "forum.thread.unhide", "open", True),
    ],
)
def test_a_threads_columns_follow(forum, restrict, lift, status, is_hidden):
    do(forum, restrict)
    thread = Thread.objects.get(pk=forum.thread.pk)
    assert (thread.status, thread.is_hidden) == (status, is_hidden)
    assert do(forum, lift).result["status"] == "open"
    thread.refresh_from_db()
    assert (thread.status, thread.is_hidden) == ("open", False)


@pytest.mark.parametrize(("expected", "status"), [(1, "succeeded"), (0, "failed"), (2, "failed")])
def test_a_record_that_changed_since_it_was_looked_at_is_left_alone(forum, expected, status):
    hide = do(forum, "forum.post.hide", expected_revision=expected)
    assert hide.status == status
    assert (post_status(forum) == "hidden") == (status == "succeeded")


def test_each_beginning_and_each_end_leaves_a_signal(forum):
    do(forum, "forum.post.hide", MIRA, "spam")
    do(forum, "forum.post.unhide", ADA, "ham")
    told = Signal.objects.filter(name__startswith="forum.post.").exclude(name="forum.post.created")
    [hidden, unhidden] = told.order_by("recorded_at", "id")
    [restriction] = Restriction.objects.all()
    assert hidden.payload == {
        "before": "published",
        "after": "hidden",
        "revision": 2,
        "restriction": str(restriction.pk),
        "version": 1,
        "reason": "spam",
    }
    assert unhidden.payload["ended"] == [str(restriction.pk)]


def test_what_restricts_a_record_is_read_when_its_lock_is_there(forum):
    """While the lock is waited for, another transaction begins a restriction that the first read misses."""
    post, seen = forum.posts[0], []
    hide, other = (ask_for(forum, name) for name in ("forum.post.hide", "forum.post.delete"))

    def second():
        with in_tenant("alpha"), transaction.atomic():
            restrictions.change_all(
                [Wanted(other, None, lambda state: seen.append(state) or Plan(begin="deleted"))]
            )
        connection.close()

    thread = threading.Thread(target=second)
    with transaction.atomic():
        restrictions.change_all([Wanted(hide, None, lambda state: Plan(begin="hidden"))])
        thread.start()
        wait_until(somebody_waits, "the second change waits")
    thread.join()
    assert [one.kind for one in seen[0].active] == ["hidden"]
    assert Post.objects.get(pk=post.pk).revision == 3


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(["hide", "unhide", "delete", "restore"]), st.booleans())))
def test_the_status_is_the_strictest_of_what_is_active(forum, steps):
    post = forums.post.make(thread=forum.thread)
    active, revision = set(), 1
    for name, is_mira in steps:
        actor = MIRA if is_mira else ADA
        directive = request(
            f"forum.post.{name}", {"post_id": str(post.pk)}, actor=actor, idempotency_key=str(uuid4())
        ).directive
        run_due()
        directive.refresh_from_db()
        kind = "hidden" if "hide" in name else "deleted"
        kinds = {of for of, _ in active}
        if name in ("hide", "delete"):
            works = kind == "deleted" or "deleted" not in kinds
            is_new = (kind, actor.id) not in active
            active |= {(kind, actor.id)} if works else set()
        else:
            works = is_new = kind in kinds
            active = {one for one in active if one[0] != kind} if works else active
        revision += works and is_new
        kinds = {of for of, _ in active}
        status = "deleted" if "deleted" in kinds else "hidden" if kinds else "published"
        post.refresh_from_db()
        assert directive.status == ("succeeded" if works else "failed")
        assert (post.status, post.revision) == (status, revision)
        rows = Restriction.objects.filter(subject_id=str(post.pk), ended_at=None)
        assert set(rows.values_list("kind", "actor_id")) == active


def undo(directive, actor=MIRA):
    undoing = operations.undo(directive.pk, actor=actor, reason="a mistake").directive
    run_due()
    return Directive.objects.get(pk=undoing.pk)


def test_undoing_a_deletion_leaves_what_was_hidden_hidden(forum):
    do(forum, "forum.post.hide")
    deleted = do(forum, "forum.post.delete")
    assert undo(deleted).status == "succeeded"
    assert post_status(forum) == "hidden"


def test_undoing_ends_ones_own_restriction_and_no_other(forum):
    locked = do(forum, "forum.thread.lock")
    do(forum, "forum.thread.lock", ADA)
    undone = undo(locked)
    assert (undone.name, undone.causation_id) == ("restriction.end", str(locked.pk))
    assert thread_status(forum) == "locked"
    with pytest.raises(Refused, match=r"ended already, on .* by agent:mira"):
        operations.undo(locked.pk, actor=ADA, reason="again")


def test_undoing_an_undo_is_the_same_again(forum):
    hidden = do(forum, "forum.post.hide", policy="1.2")
    undone = undo(hidden)
    again = undo(undone)
    assert (again.name, again.payload["policy"]) == ("forum.post.hide", "1.2")
    assert post_status(forum) == "hidden"
    assert undo(again).status == "succeeded"
    assert post_status(forum) == "published"


def test_undoing_a_lift_restricts_again_unless_something_came_since(forum):
    do(forum, "forum.thread.lock")
    unlocked = do(forum, "forum.thread.unlock")
    assert undo(unlocked).name == "forum.thread.lock"
    unlocked = do(forum, "forum.thread.unlock")
    do(forum, "forum.thread.archive", ADA)
    with pytest.raises(Refused, match=r"changed since by agent:ada \(forum.thread.archive\)"):
        operations.undo(unlocked.pk, actor=MIRA, reason="again")


def test_undoing_twice_is_once(forum):
    locked = do(forum, "forum.thread.lock")
    first, second = (operations.undo(locked.pk, actor=MIRA, reason="a mistake") for _ in range(2))
    assert (first.created, second.created) == (True, False)
    assert first.directive.pk == second.directive.pk


def test_a_batch_is_undone_except_what_changed_since(forum):
    posts = [forums.post.make(thread=forum.thread) for _ in range(6)]
    hides = [("forum.post.hide", {"post_id": str(post.pk)}) for post in posts]
    batch = [one.directive for one in request_many(hides, actor=MIRA, reason="spam")]
    run_due()
    lift = request("forum.post.unhide", {"post_id": str(posts[0].pk)}, actor=ADA, reason="ham")
    run_due()
    done = operations.undo_batch(batch[0].correlation_id, actor=ADA, reason="wrong pattern")
    run_due()
    assert len(done.requested) == 5
    [(pk, why)] = done.refused.items()
    assert pk == batch[0].pk
    assert "by agent:ada (forum.post.unhide)" in str(why)
    assert lift.directive.pk
    assert set(Post.objects.filter(thread=forum.thread).values_list("status", flat=True)) == {"published"}


def test_statuses_from_before_get_their_restrictions(forum):
    """The forum as it was before there were restrictions: statuses, and directives that gave them."""
    hidden = do(forum, "forum.post.hide", ADA, "spam")
    do(forum, "forum.thread.lock")
    Restriction.objects.all().delete()
    Directive.objects.filter(name="forum.thread.lock").delete()
    Post.objects.filter(pk=forum.posts[1].pk).update(status="deleted")
    migration = import_module("forums.migrations.0002_restrictions")
    for statement in (migration.POSTS, migration.THREADS):
        execute(statement)
    found = {(one.subject_id, one.kind, one.name, str(one.actor)) for one in Restriction.objects.all()}
    first, second, _ = forum.posts
    assert found == {
        (str(first.pk), "hidden", "forum.post.hide", "agent:ada"),
        (str(second.pk), "deleted", "forum.post.delete", "system:migration"),
        (str(forum.thread.pk), "locked", "forum.thread.lock", "system:migration"),
    }
    assert Restriction.objects.get(kind="hidden").directive_id == hidden.pk
    assert do(forum, "forum.post.unhide").result["status"] == "published"


def test_asking_for_another_reason_is_in_the_history(forum):
    first = ask_for(forum, "forum.post.hide", MIRA, "spam")
    for _ in range(2):
        assert ask_for(forum, "forum.post.hide", ADA, "doxxing").pk == first.pk
    ask_for(forum, "forum.post.hide", MIRA, "spam")
    [again] = Signal.objects.filter(name="directive.requested_again")
    assert (again.actor, again.causation_id) == (ADA, str(first.pk))
    assert again.payload == {
        "name": "forum.post.hide",
        "attempt": 0,
        "reason": "doxxing",
        "first_actor": "agent:mira",
        "first_reason": "spam",
    }


@pytest.fixture
def soon():
    return timezone.now() + timedelta(hours=1)


def lock_for_a_time(forum, until, actor=MIRA):
    payload = {"thread_id": str(forum.thread.pk)}
    lock = request("forum.thread.lock", payload, actor=actor, reason="flames", expires_at=until).directive
    run_due()
    lock.refresh_from_db()
    return lock


def run_timer():
    timer = Directive.objects.get(name="restriction.end", status="requested")
    operations.run_now(timer.pk, actor=MIRA, reason="it is time")
    run_due()
    timer.refresh_from_db()
    return timer


def test_a_restriction_for_a_time_ends_by_itself(forum, soon):
    lock = lock_for_a_time(forum, soon)
    [restriction] = Restriction.objects.all()
    assert restriction.until == soon
    assert lock.result["until"] == soon.isoformat()
    timer = Directive.objects.get(name="restriction.end")
    assert (timer.scheduled_at, timer.actor, timer.correlation_id) == (
        soon,
        Actor("system", "timer"),
        lock.correlation_id,
    )
    assert thread_status(forum) == "locked"
    assert run_timer().result["status"] == "open"
    assert thread_status(forum) == "open"


def test_a_timer_opens_nothing_that_somebody_else_closed(forum, soon):
    lock_for_a_time(forum, soon)
    do(forum, "forum.thread.lock", ADA, "legal hold")
    assert run_timer().result["still_restricted_by"]
    assert thread_status(forum) == "locked"


def test_a_timer_whose_restriction_ended_says_what_was_before_it(forum, soon):
    lock_for_a_time(forum, soon)
    unlock = do(forum, "forum.thread.unlock")
    timer = run_timer()
    assert timer.status == "succeeded"
    assert (timer.result["changed"], timer.result["superseded_by"]) == (False, str(unlock.pk))


def test_an_expiry_is_part_of_what_is_asked(forum, soon):
    payload = {"thread_id": str(forum.thread.pk)}
    asked = [
        request("forum.thread.lock", payload, actor=MIRA, reason="flames", expires_at=until)
        for until in (soon, soon, soon + timedelta(hours=1))
    ]
    assert [one.created for one in asked] == [True, False, True]
    signal = Signal.objects.filter(name="directive.requested").earliest("recorded_at", "id")
    assert signal.payload["expires_at"] == soon.isoformat()
    with pytest.raises(KeyConflict, match="another expires_at"):
        request(
            "forum.thread.lock",
            payload,
            actor=MIRA,
            expires_at=soon + timedelta(minutes=1),
            idempotency_key=asked[0].directive.idempotency_key,
        )


def test_a_request_that_is_repeated_after_its_expiry_finds_its_directive(forum, soon):
    lock = lock_for_a_time(forum, soon)
    late = timezone.now() - timedelta(seconds=1)
    Directive.objects.filter(pk=lock.pk).update(expires_at=late)
    options = {"actor": MIRA, "expires_at": late, "idempotency_key": lock.idempotency_key}
    payload = {"thread_id": str(forum.thread.pk)}
    assert request("forum.thread.lock", payload, **options) == (lock, False)
    with pytest.raises(InvalidPayload, match="expires_at: expected a time after"):
        request("forum.thread.lock", payload, **options | {"idempotency_key": "another"})


def test_many_ends_are_requested_together(forum, soon):
    posts = [forums.post.make(thread=forum.thread) for _ in range(20)]
    items = [
        DirectiveRequest("forum.post.hide", {"post_id": str(post.pk)}, expires_at=soon) for post in posts
    ]
    request_many(items, actor=MIRA, reason="spam")
    run_due()
    assert Restriction.objects.filter(until=soon).count() == 20
    ends = Directive.objects.filter(name="restriction.end", scheduled_at=soon)
    assert ends.count() == 20
    assert ends.values("created_at").distinct().count() < 20


@pytest.mark.parametrize("lift", ["forum.post.unhide", "restriction.end"])
def test_undoing_a_lift_restricts_again_in_the_same_way(forum, soon, lift):
    payload = {"post_id": str(forum.posts[0].pk), "policy": "1.2", "public_text": "Spam"}
    request("forum.post.hide", payload, actor=MIRA, reason="spam", expires_at=soon)
    run_due()
    lifted = end(Restriction.objects.get()) if lift == "restriction.end" else do(forum, lift, ADA)
    again = undo(lifted, ADA)
    revision = {"expected_revision": 3}
    assert (again.name, again.payload, again.expires_at) == ("forum.post.hide", payload | revision, soon)
    assert Restriction.objects.get(ended_at=None).until == soon


@pytest.mark.parametrize("hours", [2, None])
def test_undoing_a_lift_of_several_lasts_as_long_as_the_longest(forum, soon, hours):
    until = hours and soon + timedelta(hours=hours)
    lock_for_a_time(forum, until)
    lock_for_a_time(forum, soon, ADA)
    assert undo(do(forum, "forum.thread.unlock")).expires_at == until


def test_undoing_a_lift_begins_nothing_that_would_be_over_by_now(forum, soon):
    lock_for_a_time(forum, soon)
    unlocked = do(forum, "forum.thread.unlock")
    Restriction.objects.update(until=timezone.now())
    with pytest.raises(Refused, match="would have ended by itself on 20"):
        operations.undo(unlocked.pk, actor=MIRA, reason="a mistake")


def test_undoing_an_end_by_itself_restricts_for_good(forum, soon):
    lock_for_a_time(forum, soon)
    timer = run_timer()
    Restriction.objects.update(until=timezone.now())
    assert undo(timer).expires_at is None
    assert thread_status(forum) == "locked"


def test_an_undo_that_was_canceled_can_be_asked_for_again(forum):
    locked = do(forum, "forum.thread.lock")
    first = operations.undo(locked.pk, actor=MIRA, reason="a mistake").directive
    operations.cancel(first.pk, actor=MIRA, reason="or not")
    assert undo(locked).pk != first.pk
    assert thread_status(forum) == "open"


def reschedule(forum, until, actor=MIRA):
    [restriction] = Restriction.objects.filter(ended_at=None)
    about = {"type": restriction.subject_type, "id": restriction.subject_id}
    payload = {"subject": about, "restriction_id": str(restriction.pk)}
    if until:
        payload["until"] = until.isoformat()
    directive = request("restriction.reschedule", payload, actor=actor, reason="so be it").directive
    run_due()
    return Directive.objects.get(pk=directive.pk)


def run_timers():
    for timer in Directive.objects.filter(name="restriction.end", status="requested").order_by("queued_at"):
        operations.run_now(timer.pk, actor=MIRA, reason="it is time")
        run_due()
        timer.refresh_from_db()
        yield timer.result["changed"]


@pytest.mark.parametrize(("hours", "ends"), [(2, [False, True]), (0.5, [True, False]), (None, [False])])
def test_a_restriction_is_made_longer_or_shorter_or_stays(forum, soon, hours, ends):
    lock_for_a_time(forum, soon)
    until = hours and soon + timedelta(hours=hours - 1)
    assert reschedule(forum, until).status == "succeeded"
    assert Restriction.objects.get().until == until
    assert list(run_timers()) == ends
    assert thread_status(forum) == ("open" if hours else "locked")


@pytest.mark.parametrize("hours", [2, None])
def test_undoing_a_reschedule_gives_back_the_time_before(forum, soon, hours):
    until = hours and soon + timedelta(hours=hours)
    lock_for_a_time(forum, until)
    rescheduled = reschedule(forum, soon)
    assert undo(rescheduled).status == "succeeded"
    assert Restriction.objects.get().until == until
    assert list(run_timers()) == ([False, True, False] if hours else [False])


def test_undoing_a_reschedule_does_not_go_back_to_what_is_over(forum, soon):
    lock_for_a_time(forum, soon)
    rescheduled = reschedule(forum, None)
    before = (timezone.now() - timedelta(minutes=1)).isoformat()
    Directive.objects.filter(pk=rescheduled.pk).update(
        result={**rescheduled.result, "until_before": before}
    )
    assert "expected a time in the future" in undo(rescheduled).last_error


def test_a_timer_that_comes_too_early_names_what_moved_it_and_what_still_restricts(forum, soon):
    lock = lock_for_a_time(forum, soon)
    rescheduled = reschedule(forum, None)
    result = run_timer().result
    assert (result["changed"], result["superseded_by"]) == (False, str(rescheduled.pk))
    assert result["still_restricted_by"] == [str(lock.pk)]


def test_an_end_in_the_past_is_refused(forum, soon):
    lock_for_a_time(forum, soon)
    refused = reschedule(forum, timezone.now() - timedelta(hours=1))
    assert "until: expected a time in the future" in refused.last_error


@pytest.fixture
def news(forum):
    return forums.category.make(slug="news", name="News")


def test_a_thread_moves_and_back(forum, news):
    moved = do(forum, "forum.thread.move", category_id=str(news.pk))
    assert Thread.objects.get(pk=forum.thread.pk).category == news
    assert undo(moved).result["after"] == str(forum.category.pk)
    assert Thread.objects.get(pk=forum.thread.pk).category == forum.category


@pytest.mark.parametrize(
    ("category", "problem"), [("own", "is in .* already"), ("none", "there is no .* in this tenant")]
)
def test_a_thread_moves_only_to_another_category(forum, category, problem):
    pk = forum.category.pk if category == "own" else uuid4()
    refused = do(forum, "forum.thread.move", category_id=str(pk))
    assert re.search(f"category_id: .*{problem}", refused.last_error)
