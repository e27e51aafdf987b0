"""The project keeps its own rules: imports go one way, migrations are complete, pins name no index."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from tests.support import manage

REQUIREMENTS = sorted((settings.BASE_DIR / "requirements").glob("*.txt"))


def test_imports_go_one_way():
    linter = Path(sys.executable).with_name("lint-imports")
    found = subprocess.run(
        [linter, "--no-cache"], cwd=settings.BASE_DIR, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert "0 broken" in found.stdout


def test_no_migration_is_missing(database):
    found = manage("makemigrations", "--check", "--dry-run")
    assert found.returncode == 0, found.stdout + found.stderr
    assert "No changes detected" in found.stdout


@pytest.mark.parametrize("file", REQUIREMENTS, ids=lambda file: file.name)
def test_pins_have_hashes_and_name_no_index(file):
    lines = [line for line in file.read_text().splitlines() if line and line.strip()[0] != "#"]
    pins = [line for line in lines if not line.startswith(" ")]
    assert pins
    assert all("==" in pin and pin.endswith("\\") for pin in pins)
    assert all(line.strip().startswith("--hash=sha256:") for line in lines if line.startswith(" "))
    assert "://" not in file.read_text()


def test_both_requirements_files_agree():
    base, dev = (_pins(settings.BASE_DIR / "requirements" / name) for name in ("base.txt", "dev.txt"))
    assert base <= dev


def _pins(file: Path) -> set[str]:
    """Return the pins; what one file wants on some systems only, the other may want on all."""
    lines = file.read_text().splitlines()
    return {line.split(" ")[0] for line in lines if line[:1].isalnum()}


def test_fleetprompt_names_no_module_of_the_apps():
    """A dotted name in a string is an import that the linter does not see."""
    named = re.compile(r"""["'](?:directives|signals|forums)\.\w+\.""")
    allowed = {"settings.py", "urls.py"}
    found = [
        f"{path.name}: {line.strip()}"
        for path in sorted((settings.BASE_DIR / "fleetprompt").rglob("*.py"))
        if path.name not in allowed and "demo" not in path.parts
        for line in path.read_text().splitlines()
        if named.search(line)
    ]
    assert not found
    assert named.search('"directives.admin.dashboard.of_tenant"')
