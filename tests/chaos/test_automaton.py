"""The automaton accepts what docs/reference/states.md allows, and refuses the rest."""

import re
from datetime import UTC, datetime

import pytest

from tests.chaos.harness.automaton import STEPS, Illegal, live
from tests.chaos.harness.reading import Told

NOW = datetime.now(UTC)


def life(text, most=3):
    """Live through steps such as `requested 0, started 1`; `recovered 1 -` stalled before it began."""
    told = []
    for word in text.split(", "):
        step, attempt, *waits = word.split()
        payload = {"attempt": int(attempt), "began": not waits}
        told.append(Told(f"directive.{step}", "", payload, "", "", "", "", NOW, NOW))
    return live(told, most)


@pytest.mark.parametrize(
    ("text", "state", "attempt"),
    [
        ("requested 0", "requested", 0),
        ("requested 0, started 1, succeeded 1", "succeeded", 1),
        ("requested 0, snoozed 0, run_requested 0, canceled 0, rerun_requested 0", "requested", 0),
        ("requested 0, started 1, retry_scheduled 1, started 2, retry_scheduled 2", "requested", 2),
        ("requested 0, started 1, recovered 1, started 2, succeeded 2", "succeeded", 2),
        ("requested 0, started 1, failed 1, rerun_requested 1, started 2, failed 2", "failed", 2),
        ("requested 0, started 1, recovered 1, started 2, recovered 2, started 3", "running", 3),
    ],
)
def test_what_the_states_allow_is_legal(text, state, attempt):
    found = life(text)
    assert (found.state, found.attempt) == (state, attempt)


def test_the_last_attempt_that_began_fails_when_it_stalls():
    stalled = "requested 0, started 1, recovered 1"
    assert life(f"{stalled}, failed 1", most=1).state == "failed"
    with pytest.raises(Illegal, match=r"^failed after 1 attempts that began, and only then; started$"):
        life(f"{stalled}, started 2", most=1)
    with pytest.raises(Illegal, match="only then; failed"):
        life(f"{stalled}, failed 1", most=2)


def test_an_attempt_that_did_not_begin_is_not_charged():
    stalled = "requested 0, started 1, recovered 1 -"
    assert life(f"{stalled}, started 2, failed 2", most=1).state == "failed"
    with pytest.raises(Illegal, match="only then; failed"):
        life(f"{stalled}, failed 1", most=1)


@pytest.mark.parametrize(
    "text",
    [
        "started 1",
        "requested 0, requested 0",
        "requested 0, succeeded 0",
        "requested 0, started 1, started 2",
        "requested 0, started 1, snoozed 1",
        "requested 0, started 1, canceled 1",
        "requested 0, started 1, succeeded 1, succeeded 1",
        "requested 0, started 1, succeeded 1, started 2",
        "requested 0, started 1, succeeded 1, failed 1",
        "requested 0, started 1, recovered 1, succeeded 1",
        "requested 0, canceled 0, started 1",
        "requested 0, started 2",
        "requested 0, started 1, succeeded 2",
        "requested 0, started 1, retry_scheduled 1, started 1",
        "requested 0, rerun_requested 0",
        "requested 0, started 1, recovered 1, started 2, retry_scheduled 2, started 3, retry_scheduled 3",
    ],
)
def test_what_the_states_do_not_allow_is_found(text):
    with pytest.raises(Illegal):
        life(text)


def test_every_signal_of_a_life_in_the_documented_table_is_known(settings):
    text = (settings.BASE_DIR / "docs/reference/states.md").read_text()
    told = re.findall(r"`directive\.([a-z_]+)`", text)
    assert {step for _, step in STEPS} == set(told)
