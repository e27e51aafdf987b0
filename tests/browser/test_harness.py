"""The browser tests' own safety nets: what goes wrong is noticed, and nothing is skipped silently."""

import os
import subprocess
import sys

import pytest
from django.conf import settings

from tests.browser.accessible import check_accessible
from tests.browser.web import MISSING
from tests.support import thinned


def test_what_goes_wrong_in_a_page_is_noticed(page, problems):
    page.goto("http://alpha.localhost/admin/login/")
    assert problems.found == []
    page.evaluate("console.error('oh no')")
    page.evaluate("fetch('/nowhere/')")
    page.evaluate("setTimeout(() => { throw new Error('ouch') })")
    page.wait_for_timeout(1000)
    noticed = "\n".join(sorted(problems.found))
    problems.found.clear()
    assert "404: GET http://alpha.localhost/nowhere/" in noticed
    assert "error on the console: oh no" in noticed
    assert "exception in the page: ouch" in noticed
    problems.allow(404)
    page.goto("http://alpha.localhost/nowhere/")
    assert problems.found == []


def test_what_is_not_accessible_is_named(page):
    page.set_content(
        "<html lang=en><title>x</title><main><h1>x</h1><img src='data:,' id='bare'></main></html>"
    )
    with pytest.raises(AssertionError, match=r"image-alt \(critical\).*\n +#bare: "):
        check_accessible(page)


def pytest_without_chromium(**extra):
    keep = {name: value for name, value in os.environ.items() if name not in ("CI", "REQUIRE_BROWSER")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n1", "-pno:cacheprovider", "tests/browser/test_log_in.py"],
        cwd=settings.BASE_DIR,
        env={**keep, "TEST_CHROMIUM": "/nowhere/chromium", **extra},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.long
def test_without_chromium_the_run_says_last_what_was_skipped_and_why():
    ended = pytest_without_chromium()
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.splitlines()[-2] == f"5 browser tests were skipped: {MISSING}."


@pytest.mark.parametrize("name", thinned(["CI", "REQUIRE_BROWSER"], every=2))
def test_where_chromium_is_required_its_absence_is_a_failure(name):
    ended = pytest_without_chromium(**{name: "true"})
    assert ended.returncode != 0
    assert MISSING in ended.stdout
    assert "passed" not in ended.stdout
    assert "skipped" not in ended.stdout
