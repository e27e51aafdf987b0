"""Every pair of a state and a transition: the legal ones happen, the others raise and change nothing."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import IntegrityError
from django.db.models.functions import Now
from django.utils import timezone

from directives.errors import DirectiveNotFound, IllegalTransition, StaleAttempt
from directives.lifecycle import transitions
from directives.models import Directive
from tests.support import ask_animal, change

LATER = timezone.now() + timedelta(days=1)


def in_state(status):
    """Make a directive that is in a state as it would be after its first attempt."""
    directive = ask_animal("work")
    running = {"lease_expires_at": Now() + timedelta(hours=1), "started_at": Now()}
    ended = {} if status in ("requested", "running") else {"completed_at": Now()}
    change(directive, status=status, attempt=1, **(running if status == "running" else {}), **ended)
    return directive


def claimed(directive):
    """Claim the directive; raise when it was not due."""
    if [one.pk for one in transitions.claim(1, lease=60, only=directive.pk, token=uuid4())] != [
        directive.pk
    ]:
        raise StaleAttempt("not claimed")


TRANSITIONS = {
    "claim": claimed,
    "take over": lambda d: transitions.take_over([Directive.objects.get(pk=d.pk)], lease=60, token=uuid4()),
    "begin": lambda d: transitions.begin(d, lease=60),
    "succeed": lambda d: transitions.succeed(d, {"ok": 1}, {}),
    "fail": lambda d: transitions.fail(d, "error", {}),
    "retry": lambda d: transitions.retry(d, "error", {}, delay=5),
    "snooze": lambda d: transitions.snooze(d.pk, LATER),
    "cancel": lambda d: transitions.cancel(d.pk),
    "rerun": lambda d: transitions.rerun(d.pk, 5),
}
LEGAL = {
    ("requested", "claim"): "running",
    ("requested", "snooze"): "requested",
    ("requested", "cancel"): "canceled",
    ("running", "take over"): "running",
    ("running", "begin"): "running",
    ("running", "succeed"): "succeeded",
    ("running", "fail"): "failed",
    ("running", "retry"): "requested",
    ("succeeded", "rerun"): "requested",
    ("failed", "rerun"): "requested",
    ("canceled", "rerun"): "requested",
}
PAIRS = [(status, transition) for status in Directive.Status.values for transition in TRANSITIONS]


@pytest.mark.parametrize(("status", "transition"), PAIRS)
def test_a_transition_happens_from_the_states_that_allow_it_and_from_no_other(alpha, status, transition):
    directive = in_state(status)
    before = Directive.objects.values().get()
    if (status, transition) in LEGAL:
        TRANSITIONS[transition](directive)
        after = Directive.objects.values().get()
        assert after["status"] == LEGAL[status, transition]
        assert after != before
        return
    with pytest.raises((IllegalTransition, StaleAttempt)) as caught:
        TRANSITIONS[transition](directive)
    assert Directive.objects.values().get() == before
    if transition in ("snooze", "cancel", "rerun"):
        assert f"is {status}; only one that is" in str(caught.value)
        expected = {"rerun": "succeeded or failed or canceled"}.get(transition, "requested")
        assert expected in str(caught.value)


@pytest.mark.parametrize("transition", ["snooze", "cancel", "rerun"])
def test_a_directive_that_does_not_exist_is_not_found(alpha, transition):
    with pytest.raises(DirectiveNotFound):
        TRANSITIONS[transition](Directive(pk=uuid4()))


@pytest.mark.parametrize("transition", ["begin", "succeed", "fail", "retry"])
def test_what_an_earlier_attempt_says_is_refused(alpha, transition):
    stale = in_state("running")
    Directive.objects.update(attempt=2)
    before = Directive.objects.values().get()
    with pytest.raises(StaleAttempt, match="attempt 1 of"):
        TRANSITIONS[transition](stale)
    assert Directive.objects.values().get() == before


def test_renewing_leases_leaves_out_what_another_attempt_took(alpha):
    mine, taken = in_state("running"), in_state("requested")
    change(taken, ordering_key="other", status="running", attempt=5, lease_expires_at=Now())
    taken_until = taken.lease_expires_at
    taken.attempt = 4
    transitions.renew([mine, taken], lease=7200)
    leases = dict(Directive.objects.values_list("pk", "lease_expires_at"))
    assert leases[mine.pk] > timezone.now() + timedelta(seconds=7000)
    assert leases[taken.pk] == taken_until


def test_claiming_counts_the_attempt_and_forgets_when_the_last_one_began(alpha):
    directive = in_state("running")
    transitions.take_over([directive], lease=60, token=uuid4())
    assert (directive.attempt, directive.max_attempts) == (2, 5)
    stored = Directive.objects.get()
    assert (stored.attempt, stored.max_attempts, stored.started_at) == (2, 5, None)


def test_an_attempt_that_never_began_is_given_back(alpha):
    directive = in_state("running")
    change(directive, started_at=None)
    transitions.take_over([directive], lease=60, token=uuid4())
    stored = Directive.objects.get()
    assert (stored.attempt, stored.max_attempts) == (directive.attempt, directive.max_attempts) == (2, 6)


def test_a_rerun_keeps_counting_and_keeps_what_went_wrong(alpha):
    directive = in_state("failed")
    change(directive, attempt=5, last_error="why", result=None)
    again = transitions.rerun(directive.pk, 3)
    assert (again.attempt, again.max_attempts, again.last_error) == (5, 8, "why")
    assert again.completed_at is again.started_at is again.result is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": "sleeping"},
        {"status": "running"},
        {"lease_expires_at": Now()},
        {"attempt": 9},
        {"actor_type": "ghost"},
    ],
)
def test_the_database_refuses_states_that_cannot_be(alpha, wrong):
    directive = ask_animal("work")
    with pytest.raises(IntegrityError):
        change(directive, **wrong)


def test_the_database_refuses_two_that_run_under_one_ordering_key(alpha):
    in_state("running")
    with pytest.raises(IntegrityError, match="directive_one_running"):
        in_state("running")
