"""The benchmark itself: it runs, end to end and through real clusters, and its sums are right."""

import json
import subprocess
import sys

import pytest
from django.conf import settings

from tests.bench import pictures, report, results
from tests.bench.figures import FIGURES
from tests.bench.plan import Measurement, Row, Taken
from tests.bench.soak import drift


def _bench(*arguments):
    return _run("tests.bench", *arguments)


def _run(module, *arguments):
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


@pytest.mark.long
def test_a_figure_is_measured_end_to_end(tmp_path):
    written = tmp_path / "results.json"
    done = _bench("--quick", "--rounds", "1", "--only", "latency", "--output", str(written))
    assert done.returncode == 0, done.stderr
    result = json.loads(written.read_text())
    assert result["machine"]["postgres"]["fsync"] == "on"
    assert result["machine"]["postgres"]["synchronous_commit"] == "on"
    assert result["left_out"] == {}
    found = result["measurements"]
    assert found["latency"]["rounds"][0] <= found["latency.p95"]["rounds"][0]
    assert len(found["latency"]["series"][0]["delays"]) == result["options"]["sizes"]["latency"]
    assert found["plain_latency"]["unit"] == "ms"
    assert "latency on an idle system, p50" in done.stdout
    assert "| latency on an idle system, p50 |" in report.render([result])
    [first], [second] = (pictures.draw(result, tmp_path / name) for name in ("one", "two"))
    assert first.name == "latency.svg"
    assert "plain django-q2, idle system" in first.read_text()
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.long
def test_a_soak_runs_and_says_what_drifted(tmp_path):
    written = tmp_path / "soak.json"
    options = ["--minutes", "0.3", "--every", "2", "--tenants", "2", "--rate", "20"]
    done = _run("tests.bench.soak", *options, "--output", str(written))
    assert written.exists(), done.stderr
    result = json.loads(written.read_text())
    assert done.returncode == any(verdict["drifted"] for verdict in result["verdicts"])
    assert len(result["samples"]) >= drift.FEWEST
    assert sum(sample["per_second"] for sample in result["samples"]) > 0
    assert all(sample["worker_mib"] > 0 and sample["connections"] > 4 for sample in result["samples"])
    [drawn] = pictures.draw(result, tmp_path)
    assert "Directives a second" in drawn.read_text()


def test_an_unknown_figure_is_named():
    done = _bench("--only", "wave,speed")
    assert done.returncode == 2
    assert "--only: there is no figure 'speed'" in done.stderr


def test_every_line_belongs_to_a_figure_that_can_be_asked_for():
    listed = _bench("--list").stdout
    code = "import django; django.setup()\nfrom tests.bench import catalog\n"
    code += "print(*{row.figure for row in catalog.ROWS})\n"
    code += "assert {one for one in catalog.measurements(catalog.ROWS)} == set(catalog.MEASUREMENTS)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=settings.BASE_DIR,
        env={"DJANGO_SETTINGS_MODULE": "tests.bench.settings", "DATABASE_URL": "postgresql://nowhere/x"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == set(FIGURES)
    assert [line.split()[0] for line in listed.splitlines()] == list(FIGURES)


def _measured(name, *values):
    one = Measurement(name, name.title(), "directives/s", measure=lambda world: Taken(0))
    return results.measured(one, [Taken(value, {"p95": value * 2}) for value in values])


def test_ratios_are_taken_within_each_round():
    found = _measured("wave", 100, 300, 90) | _measured("floor", 50, 100, 100)
    line = results.compared(Row("wave", "wave", "wave", "floor", at_least=2), found)
    assert line["rounds"] == [2, 3, 0.9]
    assert (line["median"], line["min"], line["max"]) == (2, 0.9, 3)
    assert line["reached"] is True
    assert line["target"] == "≥ 2 ×"


@pytest.mark.parametrize(
    ("row", "reached"),
    [
        (Row("wave", "wave", "wave", at_least=101), False),
        (Row("wave", "wave", "wave.p95", at_most=200), True),
        (Row("wave", "wave", "wave.p95", at_most=199), False),
        (Row("wave", "wave", "wave"), None),
    ],
)
def test_a_line_says_whether_its_target_is_reached(row, reached):
    assert results.compared(row, _measured("wave", 100))["reached"] is reached


def test_a_line_whose_yardstick_is_missing_is_left_out():
    assert results.compared(Row("wave", "wave", "wave", "floor", at_least=1), _measured("wave", 1)) is None
