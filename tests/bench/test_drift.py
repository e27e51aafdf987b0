"""The verdict of the soak: drift is reported, noise is not."""

import pytest

from tests.bench.soak import drift

CALM = {
    "per_second": 100,
    "p50": 10,
    "p95": 50,
    "waiting": 5,
    "dead_percent": 20,
    "bytes_per_directive": 3000,
    "queue_kib": 100,
    "connections": 14,
    "worker_mib": 80,
    "other_mib": 90,
}


def _drifted(samples):
    return [verdict.what for verdict in drift.judge(samples) if verdict.drifted]


def test_what_stays_as_it_is_has_not_drifted():
    assert _drifted([CALM] * 10) == []


def test_the_first_sample_does_not_count():
    assert _drifted([{**CALM, "per_second": 10_000, "p95": 0, "worker_mib": 1}, *[CALM] * 9]) == []


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("per_second", 79, "directives a second"),
        ("p50", 26, "ms to done, p50"),
        ("p95", 176, "ms to done, p95"),
        ("waiting", 111, "directives that wait"),
        ("dead_percent", 46, "dead rows, %"),
        ("bytes_per_directive", 3801, "bytes for each directive"),
        ("queue_kib", 1175, "KiB of the queue's table"),
        ("connections", 17, "connections"),
        ("worker_mib", 89, "MiB of the largest worker"),
        ("other_mib", 100, "MiB of the largest other process"),
    ],
)
def test_what_moves_too_far_has_drifted(name, value, what):
    samples = [CALM] * 7 + [{**CALM, name: value}] * 3
    assert _drifted(samples) == [what]


def test_what_recovers_has_not_drifted():
    assert _drifted([*[CALM] * 4, *[{**CALM, "p95": 5000}] * 3, *[CALM] * 3]) == []


def test_too_few_samples_give_no_verdict():
    with pytest.raises(ValueError, match="5 samples are too few"):
        drift.judge([CALM] * 5)
