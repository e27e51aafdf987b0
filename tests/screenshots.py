"""Takes the pictures of the admin that the documents show: `python -m tests.screenshots`.

The demo is played in a database of its own first, so that the pages have something to show. A picture
more is a line in `SHOTS`.
"""

import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import django

# Not the tests' settings: their zoo of handlers is nothing to show.
SETTINGS = os.environ["DJANGO_SETTINGS_MODULE"] = "fleetprompt.settings"
django.setup()

from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.urls import reverse  # noqa: E402
from playwright.sync_api import Browser, Page  # noqa: E402
from rich.console import Console  # noqa: E402

from directives import operations  # noqa: E402
from directives.models import Directive  # noqa: E402
from directives.requests import request, request_many  # noqa: E402
from fleetprompt.demo import people, scenes, story  # noqa: E402
from fleetprompt.demo.scenes import Mark  # noqa: E402
from fleetprompt.demo.story import Story, Waiter  # noqa: E402
from fleetprompt.operators import clusters  # noqa: E402
from fleetprompt.tenants.context import in_tenant  # noqa: E402
from tests.browser.people import Person, log_in  # noqa: E402
from tests.browser.web import chromium, web_server  # noqa: E402
from tests.recipes import accounts  # noqa: E402
from tests.support import claim, environment, own_database  # noqa: E402

FOLDER = Path(settings.BASE_DIR) / "docs" / "screenshots"


class Shot(NamedTuple):
    """One picture.

    Args:
        name: of the file, without its ending.
        address: the page's, from what the demo requested.
        who: the login name of who looks.
        act: what the person does there before the picture is taken.
    """

    name: str
    address: Callable[[Story], str]
    host: str = "harbor.localhost"
    who: str = people.MIRA.username
    scheme: str = "light"
    width: int = 1280
    height: int = 800
    act: Callable[[Page], None] | None = None


OPERATORS = "localhost"


def _page(name: str, *arguments: object) -> str:
    return reverse(f"admin:{name}", "fleetprompt.urls", arguments)


def _overview(story: Story) -> str:
    return _page("index")


def _directives(story: Story) -> str:
    return _page("directives_directive_changelist")


def _confirm(story: Story) -> str:
    posts = story.harbor.marked(Mark.SPAM, Mark.FINE)[:4]
    ids = ",".join(str(post.pk) for post in posts)
    return f"{_page('directives_directive_request_type', 'forum.post.hide')}?subjects={ids}"


def _try_out(page: Page) -> None:
    page.get_by_label("Reason").fill("Same shop as last night")
    page.get_by_role("button", name="Show what would happen").click()
    page.wait_for_load_state()


SHOTS = (
    Shot("overview", _overview),
    Shot("overview-dark", _overview, scheme="dark"),
    Shot("directives", _directives),
    Shot("directives-dark", _directives, scheme="dark"),
    Shot("directives-phone", _directives, width=390, height=844),
    Shot(
        "directive",
        lambda story: _page("directives_directive_change", story.late.pk),
        host="orchard.localhost",
    ),
    Shot("posts", lambda story: _page("forums_post_changelist")),
    Shot("thread", lambda story: _page("forums_thread_change", story.harbor.thread.pk)),
    Shot("confirm", _confirm, act=_try_out, height=900),
    Shot("batch", lambda story: _page("directives_directive_batch", story.wave[0].correlation_id)),
    Shot("history", lambda story: _page("forums_thread_history", story.harbor.thread.pk)),
    Shot("signals", lambda story: _page("signals_signal_changelist"), who=people.AKI.username),
    Shot("operators", _overview, host=OPERATORS, who=people.ADA.username, height=900),
)


def main() -> None:
    """Take all pictures."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with own_database(), tempfile.TemporaryDirectory() as folder:
        os.environ |= environment(DJANGO_SETTINGS_MODULE=SETTINGS)
        call_command("migrate_schemas", verbosity=0)
        played = _play()
        log = Path(folder) / "web.log"
        with web_server(log, DJANGO_SETTINGS_MODULE=SETTINGS) as port, chromium(port) as browser:
            for shot, path in _take(browser, played):
                Console().print(
                    f"{path.relative_to(settings.BASE_DIR)}: {path.stat().st_size // 1024} KiB, {shot.host}"
                )


def _play() -> Story:
    """Play the demo, and leave directives in the states that it ends without."""
    number, harbor, orchard = scenes.prepare()
    with tempfile.TemporaryDirectory() as folder, clusters.running(Path(folder, "log")) as running:
        waiter = Waiter(running, 120)
        played = story.play(Console(quiet=True), number, harbor, orchard, waiter)
        with in_tenant(harbor.tenant):
            waiter.until(Directive.Status.FAILED, _post_nowhere())
    with in_tenant(harbor.tenant):
        mira = people.MIRA.actor
        fine = [post for post, _ in harbor.posts[:3]]
        items = [("forum.post.hide", {"post_id": str(post.pk)}) for post in fine]
        running_one, _, canceled = request_many(items, actor=mira, reason="Asked for by its author")
        claim(running_one.directive)
        operations.cancel(canceled.directive.pk, actor=people.ADA.actor, reason="Changed her mind")
    return played


def _post_nowhere() -> Directive:
    return request(
        "forum.post.hide",
        {"post_id": "01900000-0000-7000-8000-000000000000"},
        actor=people.SENTRY,
        reason="Looks like the spam wave of tonight",
    ).directive


def _take(browser: Browser, played: Story) -> Iterator[tuple[Shot, Path]]:
    passwords = {scene.domain: _passwords(scene.tenant) for scene in (played.harbor, played.orchard)} | {
        OPERATORS: {people.ADA.username: _operator(people.ADA.username)}
    }
    for shot in SHOTS:
        page = browser.new_context(
            viewport={"width": shot.width, "height": shot.height},
            color_scheme=shot.scheme,  # type: ignore[arg-type]
            reduced_motion="reduce",
        ).new_page()
        log_in(page, shot.host, passwords[shot.host][shot.who])
        page.goto(f"http://{shot.host}{shot.address(played)}")
        if shot.act:
            shot.act(page)
        path = FOLDER / f"{shot.name}.png"
        page.screenshot(path=path)
        page.context.close()
        yield shot, path


def _operator(username: str) -> Person:
    person = Person(username, secrets.token_urlsafe(9))
    accounts.with_password(accounts.superuser, person.password, username=username)
    return person


def _passwords(tenant: str) -> dict[str, Person]:
    with in_tenant(tenant):
        return {
            person.username: Person(person.username, password)
            for person, password in people.log_ins((people.MIRA, people.AKI, people.ADA))
        }


if __name__ == "__main__":
    main()
