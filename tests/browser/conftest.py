"""Fixtures of the browser tests, which are skipped without a Chromium, or fail where one is required."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response

from tests.browser.web import MISSING, chromium, find_chromium, is_required, web_server
from tests.support import qcluster

HERE = Path(__file__).parent
KEPT = Path(settings.BASE_DIR) / "var" / "browser"
"""Where the screenshot and the HTML of a page go whose test failed."""
CONTEXT = {"viewport": {"width": 1280, "height": 800}, "timezone_id": "Europe/Paris", "locale": "en-GB"}
FAILED = pytest.StashKey[bool]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder; without a browser, skip them unless it is required."""
    mine = [item for item in items if HERE in item.path.parents]
    is_skipped = bool(mine) and not find_chromium() and not is_required()
    for item in mine:
        item.add_marker("browser")
        if is_skipped:
            item.add_marker(pytest.mark.skip(reason=MISSING))


def pytest_runtest_setup() -> None:
    """Fail a test of this folder where a browser is required and missing."""
    if not find_chromium() and is_required():
        pytest.fail(MISSING, pytrace=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Remember which tests failed, for what is kept of their pages."""
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


@pytest.fixture(scope="package")
def web(_tenants_exist: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a web server that runs for all browser tests."""
    with web_server(tmp_path_factory.mktemp("web") / "web.log") as port:
        yield port


@pytest.fixture(scope="package")
def cluster(_tenants_exist: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A qcluster that executes whatever is requested."""
    with qcluster(tmp_path_factory.mktemp("cluster") / "cluster.log"):
        yield


@pytest.fixture(scope="package")
def browser(web: int) -> Iterator[Browser]:
    """The running Chromium."""
    with chromium(web) as browser:
        yield browser


class Problems:
    """What went wrong in a test's pages: errors on the console, exceptions, failed requests."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._allowed: set[int] = set()

    def allow(self, *statuses: int) -> None:
        """Take answers with these statuses for what the test wants."""
        self._allowed.update(statuses)

    def watch(self, page: Page) -> None:
        """Note what goes wrong in the page from now on."""
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.found.append(f"exception in the page: {error}"))
        page.on("requestfailed", self._miss)
        page.on("response", self._look)

    def _hear(self, message: ConsoleMessage) -> None:
        # Chromium's and htmx' own words for an answer that `_look` judges.
        repeated = ("Failed to load resource", "Response Status Error Code")
        if message.type == "error" and not message.text.startswith(repeated):
            self.found.append(f"error on the console: {message.text}")

    def _miss(self, request: Request) -> None:
        # Leaving a page aborts what it was still loading.
        if request.failure != "net::ERR_ABORTED":
            self.found.append(f"no answer: {request.method} {request.url} ({request.failure})")

    def _look(self, response: Response) -> None:
        if response.status >= 400 and response.status not in self._allowed:
            self.found.append(f"{response.status}: {response.request.method} {response.url}")


@pytest.fixture
def problems() -> Problems:
    """What went wrong in the test's pages; a test may `allow` statuses that it wants to see."""
    return Problems()


@pytest.fixture
def new_page(
    database: None, browser: Browser, problems: Problems, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Page]]:
    """Open pages with cookies of their own; options are those of Playwright's `new_context`.

    A test with problems in its pages fails; screenshots and HTML of a failed test go to var/browser/.
    """
    pages: list[Page] = []

    def open_page(**options: Any) -> Page:
        page = browser.new_context(**{**CONTEXT, **options}).new_page()
        page.set_default_timeout(15_000)
        problems.watch(page)
        pages.append(page)
        return page

    yield open_page
    if problems.found or request.node.stash.get(FAILED, False):
        _keep(pages, request.node.name)
    for page in pages:
        page.context.close()
    assert not problems.found, "\n".join(problems.found)


@pytest.fixture
def page(new_page: Callable[..., Page]) -> Page:
    """A page in a browser without any cookies, 1280 by 800 pixels, in Paris."""
    return new_page()


def _keep(pages: list[Page], test: str) -> None:
    KEPT.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"\W+", "-", test).strip("-")
    for number, page in enumerate(pages, 1):
        page.screenshot(path=KEPT / f"{name}-{number}.png", full_page=True)
        (KEPT / f"{name}-{number}.html").write_text(page.content())
