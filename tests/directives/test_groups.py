"""Directives that are executed in a group: everything but the commit is as if each was executed alone."""

import logging
from uuid import uuid4

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from directives import registry, runner
from directives.executing import attempts
from directives.lifecycle import claims
from directives.models import Directive
from directives.outcomes import Kind
from fleetprompt.tenants.context import active_tenant, in_tenant
from forums.models import Post, Thread
from signals.models import Signal
from tests.recipes import forums
from tests.support import (
    ABSENT,
    ask,
    ask_animal,
    change,
    effects,
    expire_lease,
    lose_wake_ups,
    make_forum,
    meanwhile,
    messages,
    owner_cursor,
    run,
    signal_names,
    somebody_waits,
    states,
    wait_until,
)

PEACEFUL = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture
def together(database, settings):
    """Let all names pass for quick, and everything due be claimed at once."""
    settings.DIRECTIVES_TIME_SLICE_SECONDS = 60
    learn()


def learn():
    for handler in registry.handlers():
        attempts.seconds_by_name[handler.name] = 0.0


def commits(*directives):
    """Return how many transactions wrote the rows of the directives last."""
    with connection.cursor() as cursor:
        ids = [directive.pk for directive in directives]
        cursor.execute(
            "SELECT count(DISTINCT xmin::text) FROM directives_directive WHERE id = ANY(%s)", [ids]
        )
        return cursor.fetchone()[0]


def test_quick_first_attempts_share_one_commit_and_one_line_of_the_log(together, alpha, caplog):
    caplog.set_level(logging.INFO, "fleetprompt.telemetry.work")
    asked = [ask_animal("work", f"cat {number}") for number in range(5)]
    assert [outcome.directive_id for outcome in runner.run_due()] == [one.id for one in asked]
    assert states(*asked) == ["succeeded"] * 5
    assert commits(*asked) == 1
    assert "succeeded together: 5 zoo.animal.work" in caplog.messages
    for one in asked:
        one.refresh_from_db()
        assert one.created_at <= one.started_at <= one.completed_at
        assert one.result["type"] == "zoo.animal.work"
        assert effects(one.subject_id) == 1
        assert signal_names(one) == [
            "directive.requested",
            "directive.started",
            "zoo.animal.worked",
            "directive.succeeded",
        ]


def test_names_that_nobody_has_timed_yet_and_slow_ones_and_later_attempts_have_commits_of_their_own(
    database, alpha
):
    unknown = [ask_animal("work", f"cat {number}", seconds=attempts.GROUP_SECONDS) for number in range(2)]
    runner.run_due()
    assert commits(*unknown) == 2
    again = [ask_animal("roam", f"dog {number}") for number in range(3)]
    for one in again:
        run(one)
        assert run(one, rerun=True).kind == Kind.SUCCEEDED
    learn()
    assert commits(*again) == 3


@pytest.mark.parametrize(
    "animal", ["refuse", "crash", "quit", "babble", "mute", "escape", "swallow", "gorge", "orphan", "hang"]
)
def test_one_that_fails_takes_nothing_with_it_and_leaves_nothing(together, alpha, animal):
    before, bad, after = (
        ask_animal("work", "before"),
        ask_animal(animal, "bad"),
        ask_animal("work", "after"),
    )
    assert len(runner.run_due()) == 3
    ended = "requested" if animal == "hang" else "failed"
    assert states(before, bad, after) == ["succeeded", ended, "succeeded"] or animal == "hang"
    assert (effects("before"), effects("after")) == (1, 1)
    assert signal_names(before).count("directive.succeeded") == 1
    bad.refresh_from_db()
    if animal != "hang":
        assert effects("bad") == 0
        assert bad.last_error
        assert signal_names(bad)[-1] == "directive.failed"


def test_what_one_left_for_after_the_commit_goes_with_it(together, alpha):
    kept, undone = ask_animal("delegate", "kept"), ask_animal("delegate", "undone", times=1)
    lose_wake_ups()
    runner.run_due(2)
    assert states(kept, undone) == ["succeeded", "failed"]
    assert Directive.objects.filter(causation_id=str(undone.id)).count() == 0
    assert Directive.objects.filter(causation_id=str(kept.id)).count() == 1
    assert messages() >= 1


def test_what_fails_after_the_commit_takes_nothing_of_the_others_along(together, alpha, caplog):
    asked = [
        ask_animal("echo", animal, note=note) for animal, note in (("a", ""), ("b", "fail"), ("c", ""))
    ]
    runner.run_due()
    assert states(*asked) == ["succeeded"] * 3
    assert [effects(animal) for animal in "abc"] == [1, 0, 1]
    assert "on_commit" in caplog.text


def test_one_that_waits_for_a_lock_holds_nobody_up(together, forum):
    asked = [ask("forum.post.hide", {"post_id": str(post.pk)}).directive for post in forum.posts]
    with owner_cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT FROM forums_post WHERE id = %s FOR UPDATE", [forum.posts[1].pk])
        with meanwhile(runner.run_due):
            try:
                wait_until(lambda: states(*asked) == ["succeeded", "running", "succeeded"], "two are done")
                wait_until(somebody_waits, "the third waits for the lock")
            finally:
                cursor.execute("ROLLBACK")
    assert states(*asked) == ["succeeded"] * 3


def test_one_that_was_taken_over_before_its_group_is_left_alone(together, alpha):
    taken, other = ask_animal("work", "taken"), ask_animal("work", "other")
    claim = claims.claim(active_tenant(), 2, token=uuid4())
    expire_lease(taken)
    assert run(taken).kind == Kind.SUCCEEDED
    kinds = {o.directive_id: o.kind for o in attempts.execute(claim.directives, active_tenant())}
    assert kinds == {taken.id: Kind.DISCARDED, other.id: Kind.SUCCEEDED}
    assert (effects("taken"), effects("other")) == (1, 1)


def test_a_group_ends_when_its_time_is_over(together, alpha):
    asked = [ask_animal("work", f"cat {number}", seconds=attempts.GROUP_SECONDS / 3) for number in range(9)]
    learn()
    runner.run_due()
    assert states(*asked) == ["succeeded"] * 9
    assert 2 <= commits(*asked) < 9


@pytest.mark.parametrize("how", ["", "raise", "break", "lose", "quit"])
def test_a_handler_for_many_is_given_all_of_a_name_and_may_fail(together, alpha, how):
    asked = [ask_animal("herd", f"cow {number}", note=how) for number in range(4)]
    refused = ask_animal("herd", "ox", note="refuse")
    runner.run_due()
    assert states(*asked, refused) == ["succeeded"] * 4 + ["failed"]
    for one in asked:
        one.refresh_from_db()
        assert one.result["together"] == (1 if how else 5)
        assert effects(f"{one.subject_id} {how}".strip()) == 1
        assert signal_names(one).count("zoo.animal.herded") == 1
    assert signal_names(refused) == ["directive.requested", "directive.started", "directive.failed"]


MOODS = st.lists(
    st.tuples(
        st.sampled_from(
            ["work", "roam", "refuse", "crash", "stumble", "escape", "herd", "delegate", "mute"]
        ),
        st.integers(0, 3),
        st.sampled_from(["", "refuse", "raise"]),
    ),
    min_size=1,
    max_size=8,
)


@PEACEFUL
@given(MOODS)
def test_together_and_alone_come_to_the_same(database, moods):
    stories = []
    for slug, quick in (("alpha", True), ("beta", False)):
        attempts.seconds_by_name.clear()
        with in_tenant(slug):
            asked = [ask_moody(name, f"cat {which}", note) for name, which, note in moods]
            stories.append(story(asked, quick))
            Directive.objects.exclude(status__in=Directive.TERMINAL).update(
                status="canceled", lease_expires_at=None
            )
    assert stories[0] == stories[1]


def ask_moody(name, animal, note):
    options = {"stumble": {"times": 1, "seconds": 3600}, "delegate": {"note": "", "times": 1}}
    return ask_animal(name, animal, **{"note": note, **options.get(name, {})})


def story(asked, quick):
    before = {
        name: effects(name) for name in {f"cat {n} {note}".strip() for n in range(4) for note in NOTES}
    }
    while True:
        learn() if quick else attempts.seconds_by_name.clear()
        if not runner.run_due(1 if not quick else None):
            break
    rows = Directive.objects.in_bulk([one.pk for one in asked])
    return (
        [(rows[one.pk].status, rows[one.pk].attempt, rows[one.pk].last_error[:40]) for one in asked],
        [signal_names(one) for one in asked],
        {name: effects(name) - count for name, count in before.items()},
    )


NOTES = ("", "refuse", "raise")
STATUSES = st.lists(
    st.tuples(st.sampled_from(Post.Status.values), st.sampled_from([None, 0, 1, 2])), min_size=1, max_size=6
)


@PEACEFUL
@given(STATUSES, st.sampled_from(["hide", "unhide", "delete"]), st.booleans())
def test_hiding_many_posts_is_hiding_each(database, posts, what, one_is_missing):
    outcomes = []
    for slug, quick in (("alpha", True), ("beta", False)):
        attempts.seconds_by_name.clear()
        with in_tenant(slug):
            thread = Thread.objects.first() or make_forum().thread
            made = [forums.post.make(thread=thread, status=status) for status, _ in posts]
            wanted = [
                {"post_id": str(post.pk)} | ({} if revision is None else {"expected_revision": revision})
                for post, (_, revision) in zip(made, posts, strict=True)
            ]
            wanted += [{"post_id": ABSENT}] * one_is_missing
            asked = [ask(f"forum.post.{what}", one).directive for one in wanted]
            if quick:
                learn()
                runner.run_due()
            else:
                for one in asked:
                    attempts.seconds_by_name.clear()
                    run(one)
            outcomes.append([told(one) for one in asked] + [post_state(post) for post in made])
            change_absent(asked[-1])
    assert outcomes[0] == outcomes[1]


OWN = ("restriction", "ended", "still_restricted_by")
"""Ids of rows, which each tenant has of its own."""


def told(directive):
    """Return how a directive ended, without what differs from tenant to tenant."""
    directive.refresh_from_db()
    kept = {k: v for k, v in (directive.result or {}).items() if k not in ("post_id", "tenant", *OWN)}
    signals = Signal.objects.filter(causation_id=str(directive.id)).values_list("name", "payload")
    return (
        directive.status,
        kept,
        [(name, payload.get("revision"), payload.get("reason")) for name, payload in signals],
        directive.last_error.replace(directive.subject_id, "…"),
    )


def post_state(post):
    post.refresh_from_db()
    return post.status, post.revision


def change_absent(directive):
    """Let the next example ask for the missing post anew."""
    change(directive, idempotency_key=f"{directive.idempotency_key}:{directive.pk}")
