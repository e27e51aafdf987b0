"""Badly behaved handlers: their changes are rolled back, and error and outcome are stored."""

import logging
import time

import pytest
from django.db import connection

from directives import runner
from directives.outcomes import Kind
from forums.models import Category
from signals.models import Signal
from tests.support import ask, ask_animal, effects, make_due, run, signal_names

FAILED = ["directive.requested", "directive.started", "directive.failed"]
RETRIED = ["directive.requested", "directive.started", "directive.retry_scheduled"]

PERMANENT = {
    "refuse": "DirectiveError: never",
    "crash": "KeyError: '\\x00 bug",
    "babble": "Refused: result: expected JSON values",
    "mute": "DirectiveError: result: expected a dictionary; got NoneType",
    "escape": "DirectiveError: the handler left its tenant: public is active",
    "quit": "DirectiveError: the handler tried to end its worker",
    "gorge": "MemoryError",
    "procrastinate": "ValueError: after: expected 0 to",
    "swallow": "InternalError: current transaction is aborted",
}


@pytest.mark.parametrize("animal", PERMANENT)
def test_a_failure_leaves_no_effect_an_error_and_the_signals_of_a_failure(alpha, animal):
    directive = ask_animal(animal)
    outcome = run(directive)
    assert outcome.kind == Kind.FAILED
    assert directive.last_error.startswith(PERMANENT[animal])
    assert outcome.reason == directive.last_error
    assert (directive.status, directive.attempt) == ("failed", 1)
    assert directive.last_error_at
    assert directive.completed_at
    assert directive.lease_expires_at is directive.result is None
    assert effects("cat") == 0
    assert signal_names(directive) == FAILED
    assert Signal.objects.get(name="directive.failed").payload["error"] == directive.last_error


TRANSIENT = {
    "stumble": "Retry: not yet",
    "doze": "TimeLimitExceeded: interrupted",
    "hibernate": "OperationalError: canceling statement due to statement timeout",
    "hang": "OperationalError: terminating connection",
}


@pytest.mark.parametrize("animal", TRANSIENT)
def test_a_transient_failure_leaves_no_effect_and_is_tried_again_until_attempts_are_used_up(alpha, animal):
    directive = ask_animal(animal, times=9)
    assert directive.max_attempts == 3
    for attempt in (1, 2):
        outcome = run(directive)
        assert (outcome.kind, outcome.reason) == (Kind.RETRY_SCHEDULED, directive.last_error)
        assert directive.last_error.startswith(TRANSIENT[animal])
        assert (directive.status, directive.attempt) == ("requested", attempt)
        assert directive.lease_expires_at is None
        make_due(directive)
    assert run(directive).kind == Kind.FAILED
    assert (directive.status, directive.attempt) == ("failed", 3)
    assert effects("cat") == 0
    assert signal_names(directive) == [*RETRIED, *RETRIED[1:], *FAILED[1:]]


@pytest.mark.parametrize("animal", ["stumble", "hang"])
def test_a_transient_failure_that_goes_away_ends_in_one_effect(alpha, animal):
    directive = ask_animal(animal, times=2)
    for kind in (Kind.RETRY_SCHEDULED, Kind.RETRY_SCHEDULED, Kind.SUCCEEDED):
        assert run(directive).kind == kind
        make_due(directive)
    assert effects("cat") == 1
    assert Signal.objects.filter(name="zoo.animal.stumbled").count() == (animal == "stumble")
    assert directive.last_error, "what went wrong before stays on record"


def test_an_error_is_recorded_as_class_and_message_of_at_most_2000_characters(alpha, caplog):
    directive = ask_animal("crash")
    run(directive)
    assert len(directive.last_error) == 2000
    assert "Traceback" not in directive.last_error
    [record] = [record for record in caplog.records if record.name == "directives.executing.recording"]
    assert record.exc_info, "the traceback is in the log"


def test_an_expected_refusal_is_no_noise_in_the_log(alpha, caplog):
    run(ask_animal("refuse"))
    run(ask_animal("stumble", "dog", times=9))
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_the_worker_goes_on_with_the_next_directive_after_each_animal(alpha):
    for animal in [*PERMANENT, *TRANSIENT]:
        ask_animal(animal, animal, times=9)
        ask_animal("work", f"after {animal}")
    outcomes = runner.run_due()
    assert sum(outcome.kind == Kind.SUCCEEDED for outcome in outcomes) == len([*PERMANENT, *TRANSIENT])
    names = Category.objects.values_list("name", flat=True)
    assert sorted(names) == sorted(f"after {animal}" for animal in [*PERMANENT, *TRANSIENT])


def test_a_retry_waits_as_long_as_the_handler_asks(alpha):
    directive = ask_animal("stumble", times=1, seconds=3600)
    run(directive)
    waits = directive.scheduled_at - directive.last_error_at
    assert waits.total_seconds() == pytest.approx(3600, abs=5)
    assert Signal.objects.get(name="directive.retry_scheduled").payload["delay_seconds"] == 3600
    assert run(directive).kind == Kind.SNOOZED


def test_a_retry_has_a_wake_up_that_becomes_visible_when_it_is_due(alpha):
    directive = ask_animal("stumble", times=1, seconds=3600)
    run(directive)
    with connection.cursor() as cursor:
        cursor.execute("SELECT max(lock) FROM public.django_q_ormq")
        [[visible]] = cursor.fetchall()
    assert abs((visible - directive.scheduled_at).total_seconds()) < 5


def test_a_long_sleep_is_interrupted(alpha):
    began = time.monotonic()
    run(ask_animal("doze"))
    run(ask_animal("hibernate", "bear"))
    assert time.monotonic() - began < 20, "each would have slept for 30 seconds"


def test_a_handler_that_leaves_its_tenant_and_crashes_there_is_recorded_in_its_own(alpha):
    directive = ask_animal("escape", note="and crash")
    assert run(directive).kind == Kind.FAILED
    assert directive.last_error == "ValueError: out there"
    assert signal_names(directive) == FAILED


def test_a_result_always_names_its_own_directive_and_tenant(alpha):
    directive = ask_animal("pretend")
    run(directive)
    assert directive.result == {"type": "zoo.animal.pretend", "tenant": "alpha"}


def test_a_request_by_a_handler_commits_with_it(alpha):
    directive = ask_animal("delegate")
    run(directive)
    wanted = type(directive).objects.get(pk=directive.result["wanted"])
    assert (wanted.causation_id, wanted.correlation_id) == (str(directive.id), directive.correlation_id)
    assert run(wanted).kind == Kind.SUCCEEDED


def test_a_request_by_a_handler_is_rolled_back_with_it(alpha):
    directive = ask_animal("delegate", times=1)
    assert run(directive).kind == Kind.FAILED
    assert list(type(directive).objects.all()) == [directive]


def test_a_request_by_a_handler_for_another_tenant_is_refused(alpha):
    directive = ask_animal("delegate", note="beta")
    assert run(directive).kind == Kind.FAILED
    assert "'beta' cannot be entered from inside tenant 'alpha'" in directive.last_error
    assert list(type(directive).objects.all()) == [directive]


def test_a_payload_that_the_handler_takes_no_more_fails_and_names_the_field(alpha):
    directive = ask("zoo.animal.work", {"animal": "cat"}).directive
    type(directive).objects.update(payload={"animal": "cat", "colour": "red"})
    assert run(directive).kind == Kind.FAILED
    assert "payload.colour" in directive.last_error
