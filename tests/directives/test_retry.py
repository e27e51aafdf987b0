"""The retry policy as plain data: no database, no clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from directives.executing.retry import RetryPolicy

POLICY = RetryPolicy(first=2, factor=3, longest=600, jitter=0.25)


@pytest.mark.parametrize(
    ("attempt", "dice", "seconds"),
    [
        (1, 0, 2),
        (2, 0, 6),
        (3, 0, 18),
        (4, 0, 54),
        (5, 0, 162),
        (6, 0, 486),
        (7, 0, 600),
        (1, 1, 2.5),
        (1, 0.5, 2.25),
        (7, 1, 750),
        (10_000, 0, 600),
    ],
)
def test_waits_grow_by_the_factor_up_to_the_longest_and_the_jitter_comes_on_top(attempt, dice, seconds):
    assert POLICY.delay(attempt, dice) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "numbers",
    [{"max_attempts": 0}, {"first": -1}, {"longest": -1}, {"jitter": -0.1}, {"factor": 0.5}],
)
def test_numbers_that_make_no_sense_are_refused(numbers):
    with pytest.raises(ValueError, match="expected"):
        RetryPolicy(**numbers)


POLICIES = st.builds(
    RetryPolicy,
    first=st.floats(0, 1e3),
    factor=st.floats(1, 100),
    longest=st.floats(0, 1e6),
    jitter=st.floats(0, 2),
)
ATTEMPTS = st.integers(1, 100_000)


@given(policy=POLICIES, attempt=ATTEMPTS)
def test_a_wait_is_never_negative_and_never_over_the_longest_with_its_jitter(policy, attempt):
    assert 0 <= policy.delay(attempt) <= policy.longest * (1 + policy.jitter)


@given(policy=POLICIES, attempt=ATTEMPTS, dice=st.floats(0, 1))
def test_a_later_attempt_never_waits_less(policy, attempt, dice):
    assert policy.delay(attempt, dice) <= policy.delay(attempt + 1, dice)


@given(policy=POLICIES, attempt=ATTEMPTS, dice=st.floats(0, 1))
def test_jitter_only_adds(policy, attempt, dice):
    assert policy.delay(attempt, 0) <= policy.delay(attempt, dice) <= policy.delay(attempt, 1)


def test_directives_that_fail_together_do_not_come_back_together():
    assert len({POLICY.delay(3) for _ in range(50)}) > 25
