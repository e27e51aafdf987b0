"""Every exception or exit of a handler becomes an outcome, and the other directives still execute."""

import math
import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models.functions import Now
from django_q.exceptions import TimeoutException
from django_q.timeout import TimeoutHandler

from directives import registry, runner, tasks
from directives.errors import MAX_WAIT_SECONDS
from directives.executing import attempts
from directives.executing.retry import RetryPolicy
from directives.models import Directive
from directives.outcomes import Kind
from fleetprompt.tenants.context import in_tenant
from tests.support import ask_animal, effects, make_due, run, signal_names, states
from tests.zoo.directive_handlers.animals import MUMBLES, Exit


@pytest.fixture(params=["alone", "together"])
def mode(request, alpha, settings):
    if request.param == "together":
        settings.DIRECTIVES_TIME_SLICE_SECONDS = 60
        for handler in registry.handlers():
            attempts.seconds_by_name[handler.name] = 0.0
    return request.param


def in_a_worker(function):
    """Call a function where no Ctrl-C can come, as in the workers of a cluster."""
    results = []

    def call():
        with in_tenant("alpha"):
            results.append(function())
        connection.close()

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    return results[0]


def make_due_again(*directives):
    """Let the time come for those that wait for a retry; return whether there are any."""
    waiting = Directive.objects.filter(pk__in=[one.pk for one in directives], status="requested")
    return waiting.update(scheduled_at=Now() - timedelta(seconds=1))


@pytest.mark.parametrize("name", ["exit", "exits"])
@pytest.mark.parametrize("kind", [*Exit.KINDS, "result"])
def test_what_is_no_exception_ends_its_own_directive_only(mode, kind, name):
    before, after = ask_animal("work", "before"), ask_animal("work", "after")
    bad = [ask_animal(name, f"bad {number}", note=kind) for number in range(2)]
    in_a_worker(runner.run_due)
    while kind == "cancelled" and make_due_again(*bad):
        in_a_worker(runner.run_due)
    assert states(before, *bad, after) == ["succeeded", "failed", "failed", "succeeded"]
    assert effects(f"bad 0 {kind}") == 0
    bad[0].refresh_from_db()
    assert (
        Exit.KINDS.get(kind, SystemExit).__name__ in bad[0].last_error
        or "end its worker" in bad[0].last_error
    )
    assert bad[0].attempt == (3 if kind == "cancelled" else 1), "who was cancelled may try again"
    assert signal_names(bad[0])[-1] == "directive.failed"


def test_ctrl_c_still_ends_a_command(alpha):
    ask_animal("exit", note="interrupt")
    with pytest.raises(KeyboardInterrupt):
        runner.run_due()


@pytest.mark.parametrize("seconds", [1.5])
def test_the_queues_own_time_out_still_ends_the_worker(mode, seconds):
    ask_animal("work", seconds=seconds)
    with pytest.raises(TimeoutException), TimeoutHandler(1):
        tasks.work("alpha")


@pytest.mark.parametrize("what", MUMBLES)
def test_what_cannot_be_told_is_an_outcome_all_the_same(mode, what):
    bad, good = ask_animal("mumble", "bad", note=what), ask_animal("work", "good")
    outcomes = {outcome.directive_id: outcome for outcome in runner.run_due(2)}
    bad.refresh_from_db()
    transient = callable(MUMBLES[what]) and bad.last_error.startswith(("Retry", "_Bare", "_RaisingAfter"))
    kind = Kind.RETRY_SCHEDULED if transient else Kind.FAILED
    assert outcomes[bad.id].kind == kind, bad.last_error
    assert 0 < len(bad.last_error) <= 2000
    assert (bad.scheduled_at - bad.created_at).total_seconds() <= MAX_WAIT_SECONDS + 60
    assert signal_names(bad)[-1] == f"directive.{kind}"
    assert states(good) == ["succeeded"]


def test_a_policy_that_cannot_tell_the_wait_gives_way_to_the_usual_one(mode):
    bad, good = ask_animal("overflow", "bad"), ask_animal("work", "good")
    for _ in range(3):
        runner.run_due()
        make_due(bad)
        assert (bad.scheduled_at - bad.created_at).total_seconds() < 3600
    assert states(bad, good) == ["failed", "succeeded"]


def test_an_absurd_wait_that_is_always_asked_for_ends_in_a_failure(alpha):
    bad = ask_animal("mumble", note="nan")
    for _ in range(2):
        assert run(bad).kind == Kind.RETRY_SCHEDULED
        make_due(bad)
    assert run(bad).kind == Kind.FAILED
    assert not Directive.objects.exclude(pk=bad.pk).exists()


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["first", "factor", "longest", "jitter"])
def test_a_policy_of_numbers_that_are_none_is_refused(name, odd):
    with pytest.raises(ValueError, match="expected"):
        RetryPolicy(**{name: odd})


def test_a_policy_that_grows_fast_ends_at_its_longest_wait():
    policy = RetryPolicy(first=1e300, factor=1e300, longest=50, jitter=0)
    assert [policy.delay(attempt) for attempt in (1, 2, 1000)] == [50] * 3
    assert RetryPolicy(first=0, factor=1e300, jitter=0).delay(1000) == 0
