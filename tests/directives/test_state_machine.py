"""Random sequences of request, run, snooze, cancel, rerun and crash, compared with a plain model."""

from datetime import timedelta
from itertools import count

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from directives import operations, runner
from directives.errors import IllegalTransition, KeyConflict
from directives.executing import attempts
from directives.models import Directive
from forums.models import Category, Post, Thread
from signals.models import Signal
from tests.directives.model import EFFECTS, TERMINAL, Expected, World, ordinals
from tests.support import (
    TESTER,
    ask,
    claim,
    empty_tenants,
    expire_lease,
    make_due,
    make_forum,
    messages,
    thinned,
)

numbers = count(1)


class Walk(RuleBasedStateMachine):
    """One walk through a small forum and a zoo with one cage."""

    directives = Bundle("directives")

    def __init__(self):
        super().__init__()
        empty_tenants()
        self.forum = make_forum(posts=2)
        self.thread = str(self.forum.thread.pk)
        self.posts = [str(post.pk) for post in self.forum.posts]
        self.world = World({self.thread: "open", **dict.fromkeys(self.posts, "published")})

    def stored(self, one):
        return Directive.objects.get(pk=one.id)

    def later(self):
        return timezone.now() + timedelta(hours=1, seconds=next(numbers))

    def request(self, name, payload, line, *, later=False, **fields):
        number = next(numbers)
        at = self.later() if later else None
        key = f"walk {number}"
        directive, created = ask(name, payload, idempotency_key=key, scheduled_at=at)
        assert created
        return self.remember(directive, line, due=not later, **fields)

    def remember(self, directive, line, **fields):
        one = Expected(directive.id, directive.name, directive.subject_id, line, **fields)
        self.world.directives.append(one)
        return one

    @rule(
        target=directives, which=st.integers(0, 2), change=st.sampled_from([*EFFECTS]), later=st.booleans()
    )
    def request_moderation(self, which, change, later):
        kind = change.split(".")[1]
        subject = self.thread if kind == "thread" else self.posts[which % 2]
        return self.request(change, {f"{kind}_id": subject}, f"forum.{kind}:{subject}", later=later)

    @rule(target=directives, later=st.booleans())
    def request_post(self, later):
        note = f"walk {next(numbers)}"
        payload = {"thread_id": self.thread, "content": note, "author_id": "bot", "client_request_id": note}
        return self.request("forum.post.create", payload, "", later=later, note=note)

    @rule(target=directives, animal=st.sampled_from(["work", "stumble", "refuse"]), times=st.integers(0, 4))
    def request_animal(self, animal, times):
        note = str(next(numbers))
        payload = {"animal": "cat", "note": note, "times": times}
        if animal == "stumble":
            payload["seconds"] = 3600.0
        return self.request(
            f"zoo.animal.{animal}", payload, "zoo.animal:cat", note=f"cat {note}", times=times
        )

    @rule(target=directives, which=st.integers(0, 1), change=st.sampled_from(["hide", "unhide"]))
    def double_click(self, which, change):
        payload = {"post_id": self.posts[which]}
        first, second = (ask(f"forum.post.{change}", payload) for _ in range(2))
        assert (first.directive, second.created) == (second.directive, False)
        if not first.created:
            return multiple()
        return self.remember(first.directive, f"forum.post:{self.posts[which]}")

    @rule(one=directives)
    def ask_again(self, one):
        known = self.stored(one)
        again = ask(one.name, known.payload, idempotency_key=known.idempotency_key)
        assert (again.directive, again.created) == (known, False)
        with pytest.raises(KeyConflict, match=str(one.id)):
            ask("zoo.animal.roam", {"animal": "dog"}, idempotency_key=known.idempotency_key)

    @rule(one=directives, rerun=st.booleans())
    def run(self, one, rerun):
        if rerun and one.status in TERMINAL:
            self.expect_rerun(one)
        claimed, exhausted = self.world.claim(one)
        if claimed:
            expected = self.world.execute(one)
        elif exhausted:
            expected = "failed"
        else:
            expected = "snoozed" if one.status == "requested" and not one.due else "discarded"
        assert runner.run(one.id, rerun=rerun).kind == expected

    @rule()
    def run_due(self):
        expected = []
        while any(claim := self.world.claim()):
            claimed, exhausted = claim
            expected += [(one.id, "failed") for one in exhausted]
            expected += [(one.id, self.world.execute(one)) for one in claimed]
        # What does not succeed in its group is executed again, after it.
        assert sorted((outcome.directive_id, outcome.kind) for outcome in runner.run_due()) == sorted(
            expected
        )

    @rule(one=directives)
    def snooze(self, one):
        if self.allowed(one, ["requested"], lambda: self.operate("snooze", one, until=self.later())):
            one.due = False
            one.take_place()
            one.say("directive.snoozed")

    @rule(one=directives)
    def run_now(self, one):
        if self.allowed(one, ["requested"], lambda: self.operate("run_now", one)):
            one.due = True
            one.come_forward()
            one.say("directive.run_requested")

    @rule(one=directives)
    def cancel(self, one):
        if self.allowed(one, ["requested"], lambda: self.operate("cancel", one)):
            self.world.end(one, "canceled")

    @rule(one=directives)
    def rerun(self, one):
        if self.allowed(one, TERMINAL, lambda: self.operate("rerun", one)):
            self.expect_rerun(one)

    def operate(self, name, one, **options):
        getattr(operations, name)(one.id, actor=TESTER, reason="at will", **options)

    def allowed(self, one, states, operation):
        """Do the operation, which should be refused without a trace in any other state."""
        if one.status in states:
            operation()
            return True
        before = messages()
        with pytest.raises(IllegalTransition, match=f"is {one.status}; only one that is"):
            operation()
        assert messages() == before
        return False

    def expect_rerun(self, one):
        one.status, one.due = "requested", True
        one.max_attempts = one.attempt + (3 if "stumble" in one.name else 5)
        one.take_place()
        one.requested = next(ordinals)
        one.say("directive.rerun_requested")

    @rule(one=directives)
    def time_passes(self, one):
        if one.status == "requested":
            make_due(self.stored(one))
            one.due = True
            one.come_forward()

    @rule(one=directives, begun=st.booleans())
    def a_worker_claims_and_goes_on(self, one, begun):
        if self.world.can_be_claimed(one):
            attempt = claim(self.stored(one))
            self.world.claim(one)
            if begun:
                attempts._begin(attempt)
            one.begun = begun

    @rule(one=directives)
    @precondition(lambda self: any(one.status == "running" for one in self.world.directives))
    def a_worker_stalls(self, one):
        if one.status == "running":
            expire_lease(self.stored(one))
            one.stalled, one.stalled_since = True, next(numbers)

    @rule(one=directives, begun=st.booleans())
    def a_worker_crashes(self, one, begun):
        self.a_worker_claims_and_goes_on(one, begun)
        self.a_worker_stalls(one)

    @invariant()
    def directives_are_as_expected(self):
        stored = Directive.objects.values_list("pk", "status", "attempt", "max_attempts")
        assert {row[0]: row[1:] for row in stored} == {
            one.id: (one.status, one.attempt, one.max_attempts) for one in self.world.directives
        }

    @invariant()
    def signals_tell_the_whole_story(self):
        told = {str(one.id): [] for one in self.world.directives}
        for name, directive in Signal.objects.exclude(causation_id="").values_list("name", "causation_id"):
            told[directive].append(name)
        assert told == {str(one.id): one.signals for one in self.world.directives}

    @invariant()
    def the_forum_is_as_expected(self):
        rows = [*Thread.objects.all(), *Post.objects.filter(directive_id=None)]
        assert {str(row.pk): [row.status, row.revision] for row in rows} == self.world.subjects
        made = [*Category.objects.filter(name__startswith="cat ").values_list("name", flat=True)]
        made += Post.objects.exclude(directive_id=None).values_list("content", flat=True)
        assert sorted(made) == sorted(self.world.effects.elements())


@pytest.mark.timeout(600)
@pytest.mark.parametrize("walks", thinned([10, 60], every=2))
def test_whatever_happens_the_rows_the_signals_and_the_forum_agree(alpha, walks):
    run_state_machine_as_test(
        Walk,
        settings=settings(
            max_examples=walks,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
