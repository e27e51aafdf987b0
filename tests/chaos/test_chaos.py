"""The harness itself, for less than a minute: real processes, every kind of fault, no violation."""

import json
import subprocess
import sys

import pytest
from django.conf import settings

from tests.chaos.harness.__main__ import main
from tests.chaos.harness.faults import SERVER_RESTARTS

SEED = 20


# Whoever waits in vain in there says so after some minutes, with the directives that hang.
@pytest.mark.long
@pytest.mark.timeout(600)
def test_nothing_is_lost_doubled_or_out_of_order_while_everything_is_killed():
    found = subprocess.run(
        [
            *(sys.executable, "-m", "tests.chaos.harness", "--format", "json", "--seed", str(SEED)),
            *("--minutes", "0.25", "--directives", "600", "--tenants", "2", "--faults", "20"),
        ],
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout.startswith("{"), found.stderr
    report = json.loads(found.stdout)
    assert report["violations"] == [], f"seed {SEED}\n{found.stderr}"
    assert found.returncode == 0, found.stderr
    assert sum(report["statuses"].values()) >= 500
    assert report["statuses"]["succeeded"] >= 300
    assert len(report["struck"]) >= 8, "not all of them, since a fault may find no target"
    assert any(kind in report["struck"] for kind in SERVER_RESTARTS)
    assert report["told"]["directive.recovered"] > 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--minutes", "0"], "--minutes: expected more than 0"),
        (["--faults", "3"], "--faults: expected 17 or more, one of each kind; got 3"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(capsys, monkeypatch, arguments, text):
    monkeypatch.setattr(sys, "argv", ["harness", *arguments])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert text in capsys.readouterr().err
