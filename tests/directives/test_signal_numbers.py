"""Repeated signals of one directive: each has its own key, whatever was pruned before."""

from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from directives import operations
from directives.models import Directive
from directives.outcomes import Kind
from signals.audit import pruning
from signals.audit.sealing import sealer
from signals.audit.verifying import verification
from signals.models import Signal
from tests.support import (
    TESTER,
    ask,
    ask_animal,
    empty_tenants,
    make_due,
    run,
    thinned,
)

minutes = count(60)


def snooze(directive):
    until = timezone.now() + timedelta(minutes=next(minutes))
    operations.snooze(directive.pk, until, actor=TESTER, reason="not now")


def operate(name, directive):
    getattr(operations, name)(directive.pk, actor=TESTER, reason="at will")


def prune(before=datetime(2100, 1, 1, tzinfo=UTC)):
    """Seal what there is, and remove what was recorded before a time."""
    sealer.seal()
    planned = pruning.plan(before)
    if planned.signals:
        pruning.prune(planned, before, actor=TESTER)


def keys(directive, *names):
    found = Signal.objects.filter(causation_id=str(directive.pk))
    return list((found.filter(name__in=names) if names else found).values_list("dedupe_key", flat=True))


def test_the_second_is_numbered_and_the_first_of_each_attempt_is_not(alpha):
    directive = ask_animal("work")
    snooze(directive), snooze(directive), operate("run_now", directive), operate("cancel", directive)
    operate("rerun", directive), operate("cancel", directive), operate("rerun", directive)
    run(directive)
    operate("rerun", directive), snooze(directive)
    expected = [
        "snoozed:0",
        "snoozed:0:2",
        "run_requested:0",
        "canceled:0",
        "rerun_requested:0",
        "canceled:0:2",
        "rerun_requested:0:2",
        "rerun_requested:1",
        "snoozed:1",
    ]
    found = keys(directive, *{f"directive.{key.partition(':')[0]}" for key in expected})
    stem = f":alpha:{directive.pk}"
    assert [key.replace(stem, "").removeprefix("directive.") for key in found] == expected


@pytest.mark.parametrize("operation", ["snooze", "run_now"])
def test_a_third_one_after_the_first_was_pruned_is_on_record(alpha, operation):
    directive = ask_animal("work")
    twice = [snooze, snooze] if operation == "snooze" else [lambda one: operate("run_now", one)] * 2
    twice[0](directive)
    first = Signal.objects.latest("recorded_at")
    sealer.seal()
    twice[1](directive)
    prune(first.recorded_at + timedelta(microseconds=1))
    twice[0](directive)
    name = first.name
    assert keys(directive, name) == [f"{first.dedupe_key}:2", f"{first.dedupe_key}:3"]


def test_a_third_change_by_reruns_after_the_first_was_pruned_is_on_record(forum):
    post = forum.posts[0]
    directive = ask("forum.post.hide", {"post_id": str(post.pk)}).directive
    for number in range(4):
        if number:
            run(ask("forum.post.unhide", {"post_id": str(post.pk)}).directive)
        if number == 2:
            first = Signal.objects.get(name="forum.post.hidden", dedupe_key__endswith=str(directive.pk))
            prune(first.recorded_at + timedelta(microseconds=1))
        assert run(directive, rerun=number > 0).kind == Kind.SUCCEEDED
        sealer.seal()
    directive.refresh_from_db()
    stem = f"forum.post.hidden:alpha:{post.pk}:{directive.pk}"
    assert keys(directive, "forum.post.hidden") == [f"{stem}:{number}" for number in (2, 3, 4)]
    assert directive.metadata == {}


def test_a_rerun_after_what_did_not_succeed_has_the_bare_key(alpha):
    directive = ask_animal("stumble", times=1)
    assert run(directive).kind == Kind.RETRY_SCHEDULED
    operate("cancel", directive), operate("rerun", directive)
    assert run(directive).kind == Kind.SUCCEEDED
    assert keys(directive, "zoo.animal.stumbled") == [f"zoo.animal.stumbled:alpha:cat:{directive.pk}"]


class Walk(RuleBasedStateMachine):
    """One directive, operated on, run and pruned at will; each step leaves exactly what it should."""

    def __init__(self):
        super().__init__()
        empty_tenants()
        self.directive = ask_animal("work")
        self.all_keys = set(keys(self.directive))

    @property
    def status(self):
        return Directive.objects.get().status

    def step(self, work, *names):
        """Do it, and find one new signal of each name, under keys that were never there."""
        before = set(Signal.objects.values_list("pk", flat=True))
        work(self.directive)
        new = Signal.objects.filter(causation_id=str(self.directive.pk)).exclude(pk__in=before)
        assert sorted(new.values_list("name", flat=True)) == sorted(names)
        told = set(new.values_list("dedupe_key", flat=True))
        assert not told & self.all_keys
        self.all_keys |= told
        assert Directive.objects.get().metadata == {}

    @rule()
    @precondition(lambda self: self.status == "requested")
    def snooze(self):
        self.step(snooze, "directive.snoozed")

    @rule()
    @precondition(lambda self: self.status == "requested")
    def run_now(self):
        self.step(lambda one: operate("run_now", one), "directive.run_requested")

    @rule()
    @precondition(lambda self: self.status == "requested")
    def cancel(self):
        self.step(lambda one: operate("cancel", one), "directive.canceled")

    @rule()
    @precondition(lambda self: self.status != "requested")
    def rerun(self):
        self.step(lambda one: operate("rerun", one), "directive.rerun_requested")

    @rule()
    @precondition(lambda self: self.status == "requested")
    def run(self):
        make_due(self.directive)
        self.step(run, "directive.started", "zoo.animal.worked", "directive.succeeded")

    @rule()
    def seal(self):
        sealer.seal()

    @rule(data=st.data())
    def prune(self, data):
        times = list(Signal.objects.values_list("recorded_at", flat=True))
        before = data.draw(st.sampled_from(times)) if times else timezone.now()
        prune(before + timedelta(microseconds=1))

    def teardown(self):
        assert verification.verify().finding_count == 0


@pytest.mark.timeout(600)
@pytest.mark.parametrize("walks", thinned([4, 20], every=2))
def test_each_step_is_on_record_whatever_was_pruned_in_between(alpha, walks):
    run_state_machine_as_test(
        Walk,
        settings=settings(
            max_examples=walks,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
