"""A real web server on the tests' database, and a Chromium that reaches every host name there."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.request import urlopen

from django.conf import settings
from django.db import connection
from playwright.sync_api import Browser, sync_playwright

from tests.support import environment, wait_until

NAMES = ("chromium", "chromium-browser", "google-chrome")
MISSING = (
    "the browser tests need Chromium: install your system's package (Debian: apt-get install chromium),"
    " or name a Chromium or Chrome in TEST_CHROMIUM"
)


def find_chromium() -> str | None:
    """Return the path of the browser, if there is one."""
    named = os.environ.get("TEST_CHROMIUM")
    return shutil.which(named) if named else next(filter(None, map(shutil.which, NAMES)), None)


def is_required() -> bool:
    """Return whether a missing browser is a failure, as it is in CI."""
    return any(os.environ.get(name, "").lower() in ("1", "true") for name in ("CI", "REQUIRE_BROWSER"))


@contextmanager
def web_server(log: Path, **extra: str) -> Iterator[int]:
    """Serve the tests' database for a block, with its output in `log`; give the port on 127.0.0.1.

    Args:
        extra: what its process environment has beside that of `tests.support.environment`.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "runserver", f"127.0.0.1:{port}", "--noreload", "--insecure"],
            cwd=settings.BASE_DIR,
            env=environment(DEBUG="1", **extra),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            wait_until(lambda: process.poll() is not None or _answers(port), "the web server answers")
            assert process.poll() is None, log.read_text()
            yield port
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(15)


@contextmanager
def chromium(port: int) -> Iterator[Browser]:
    """Run the browser for a block; whatever host it asks for on port 80 is the web server on `port`."""
    found = find_chromium()
    assert found, MISSING
    # Playwright's event loop is no reason not to use the database: nothing here is asynchronous.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found,
            args=[
                f"--host-resolver-rules=MAP * 127.0.0.1:{port}",
                "--disable-gpu",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--no-first-run",
                *(["--no-sandbox"] if os.geteuid() == 0 else []),
            ],
        )
        try:
            yield browser
        finally:
            browser.close()
            # Django's connections are kept apart for code under an event loop.
            connection.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


def _answers(port: int) -> bool:
    with suppress(OSError):
        return bool(urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5).status == 200)
    return False
