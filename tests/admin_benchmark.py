"""Measures the admin's pages in a very big tenant: `python -m tests.admin_benchmark`."""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

from django.db import connection  # noqa: E402
from django.test.utils import setup_databases, setup_test_environment, teardown_databases  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from fleetprompt.cli.console import progress  # noqa: E402
from fleetprompt.tenants.context import in_tenant  # noqa: E402
from fleetprompt.tenants.provisioning import create_tenant  # noqa: E402
from forums.models import Post  # noqa: E402
from tests.admin import AdminClient, client_of  # noqa: E402
from tests.big_pages import make_tenant, pages  # noqa: E402

WAVE = 5_000
SMALL = (400, 1_200)


def main() -> None:
    """Print the milliseconds of each page, and how many times those of the same page in a small tenant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directives", type=int, default=200_000)
    parser.add_argument("--signals", type=int, default=600_000)
    parser.add_argument("--rounds", type=int, default=5, help="median of so many (default: 5)")
    options = parser.parse_args()
    table = Table(
        title=f"{options.directives:,} directives and {options.signals:,} signals,"
        f" against {SMALL[0]} and {SMALL[1]}"
    )
    for column in ("page", "ms", "ms, small tenant", "ratio"):
        table.add_column(column, justify="left" if column == "page" else "right")
    with _database():
        small = _measure("small", SMALL, options.rounds)
        big = _measure("big", (options.directives, options.signals), options.rounds)
    for name, seconds in big.items():
        ratio = seconds / small[name]
        table.add_row(name, f"{seconds * 1000:,.0f}", f"{small[name] * 1000:,.0f}", f"{ratio:.1f}")
    Console().print(table)


def _measure(slug: str, size: tuple[int, int], rounds: int) -> dict[str, float]:
    create_tenant(slug, name=slug.title(), domain=f"{slug}.localhost")
    client = client_of("ada", slug, superuser=True)
    with in_tenant(slug):
        thread = make_tenant(*size)
        looked_at = list(pages(thread))
        posts = _add_posts(thread)
    found = {}
    with progress(f"Looking at the {slug} tenant", len(looked_at)) as advance:
        for page in looked_at:
            found[page.name] = _median(lambda path=page.path: client.text(path), rounds)  # type: ignore[misc]
            advance(1)
    found[f"confirm {WAVE:,} hides"] = _median(lambda: _confirm(client, posts), 3)
    found[f"request {WAVE:,} hides"] = _median(lambda: _request(client, posts), 1)
    return found


def _add_posts(thread: Any) -> list[str]:
    posts = [Post(thread_id=thread, content=f"Wave {n}", author_id="bob") for n in range(WAVE)]
    Post.objects.bulk_create(posts)
    return [str(post.pk) for post in posts]


def _confirm(client: AdminClient, posts: list[str]) -> None:
    data = {
        "action": "request:forum.post.hide",
        "_selected_action": posts[:1],
        "select_across": "1",
        "index": "0",
    }
    answer = client.post("/admin/forums/post/?q=Wave", data)
    assert f"{WAVE:,} posts" in answer.content.decode()


def _request(client: AdminClient, posts: list[str]) -> None:
    data = {
        "subjects": ",".join(posts),
        "batch": str(uuid4()),
        "reason": "Spam wave",
        "when": "now",
        "confirm": "request",
    }
    answer = client.post("/admin/directives/directive/request/forum.post.hide/", data)
    assert answer.status_code == 302


def _median(what: Callable[[], Any], rounds: int) -> float:
    taken = []
    for _ in range(rounds):
        start = time.perf_counter()
        what()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


@contextmanager
def _database() -> Iterator[None]:
    setup_test_environment()
    databases = setup_databases(verbosity=0, interactive=False)
    try:
        yield
    finally:
        connection.close()
        teardown_databases(databases, verbosity=0)


if __name__ == "__main__":
    main()
