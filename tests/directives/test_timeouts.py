"""Time limits end slow handlers, in Python and in the database, and keep other alarms."""

import contextlib
import signal
import threading
import time

import pytest
from django.db import OperationalError, connection, transaction

from fleetprompt.postgres.idle_in_transaction import limit_session
from fleetprompt.time_limit import ALARM_GRACE_SECONDS, TimeLimitExceeded, time_limit


class OuterAlarm(Exception):
    """The alarm of whoever runs the worker."""


@pytest.fixture
def outer_alarm():
    """Set an alarm as the queue's worker does; give what asks for the seconds that it has left."""

    def ring(signum, frame):
        raise OuterAlarm

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 100)
    yield ring
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def test_what_takes_too_long_is_interrupted():
    began = time.monotonic()
    with pytest.raises(TimeLimitExceeded, match="interrupted"), time_limit(0.1):
        time.sleep(30)
    assert time.monotonic() - began < 20


def test_what_swallows_the_alarm_is_refused_afterwards():
    with (
        pytest.raises(TimeLimitExceeded, match=r"the limit is 0\.1 s"),
        time_limit(0.1),
        contextlib.suppress(BaseException),
    ):
        time.sleep(30)


def test_no_handler_swallows_it_by_catching_exceptions():
    assert not issubclass(TimeLimitExceeded, Exception)


def test_what_is_quick_enough_passes_and_leaves_no_alarm():
    with time_limit(30):
        pass
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


@pytest.mark.parametrize("seconds", [0.1, 500])
def test_an_outer_alarm_is_put_back_with_the_time_it_has_left(outer_alarm, seconds):
    try:
        with time_limit(seconds):
            time.sleep(0.3)
    except TimeLimitExceeded:
        assert seconds < 1
    left, _ = signal.getitimer(signal.ITIMER_REAL)
    assert 0 < left <= 100 - 0.3
    assert signal.getsignal(signal.SIGALRM) is outer_alarm


def test_an_outer_alarm_that_was_due_meanwhile_rings_right_after(outer_alarm):
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    with time_limit(30):
        time.sleep(0.2)
    with pytest.raises(OuterAlarm):
        time.sleep(30)


def test_in_another_thread_the_limit_is_checked_afterwards():
    errors = []

    def slow():
        try:
            with time_limit(0.05):
                time.sleep(0.1)
        except TimeLimitExceeded as error:
            errors.append(str(error))

    thread = threading.Thread(target=slow)
    thread.start()
    thread.join()
    assert len(errors) == 1


def test_a_statement_is_cancelled_by_the_database_and_the_connection_survives(alpha):
    @transaction.atomic
    def sleep():
        limit_session(0.1)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(30)")

    with pytest.raises(OperationalError, match="statement timeout"):
        sleep()
    assert connection.is_usable()


def test_the_databases_limits_end_with_the_transaction(alpha):
    def limits():
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT current_setting('statement_timeout'),"
                " current_setting('idle_in_transaction_session_timeout')"
            )
            return cursor.fetchone()

    before = limits()
    with transaction.atomic():
        limit_session(0.7)
        assert limits() == ("700ms", "5700ms")
    assert limits() == before


def test_the_database_gives_up_before_the_alarm_does():
    assert ALARM_GRACE_SECONDS > 0
