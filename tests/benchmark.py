"""Measures requesting and running directives on a database of its own: `python -m tests.benchmark`."""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
django.setup()

from django.db import transaction  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from directives import runner  # noqa: E402
from directives.models import Directive  # noqa: E402
from directives.requests import request_many  # noqa: E402
from fleetprompt.tenants.context import in_tenant  # noqa: E402
from fleetprompt.tenants.provisioning import create_tenant  # noqa: E402
from forums import content, moderation  # noqa: E402
from forums.models import Post  # noqa: E402
from tests.support import TESTER, ask, make_forum, own_database, qcluster, wait_until  # noqa: E402


def main() -> None:
    """Print operations per second, milliseconds each, and how much slower than the baseline they are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posts", type=int, default=1000, help="posts to moderate (default: 1000)")
    posts = parser.parse_args().posts
    table = Table(title=f"{posts} posts, PostgreSQL on this machine, disk not waited for")
    for column in ("what", "per second", "ms each", "times the baseline"):
        table.add_column(column, justify="left" if column == "what" else "right")
    baseline = 0.0
    with own_database(), tempfile.TemporaryDirectory() as folder:
        for what, measure in _measures(posts, Path(folder) / "log"):
            seconds = measure() / posts
            baseline = baseline or seconds
            table.add_row(what, f"{1 / seconds:,.0f}", f"{seconds * 1000:.2f}", f"{seconds / baseline:.1f}")
    Console().print(table)


def _measures(posts: int, log: Path) -> Iterator[tuple[str, Callable[[], float]]]:
    create_tenant("benchmark", name="Benchmark", domain="benchmark.localhost")
    with in_tenant("benchmark"):
        thread = make_forum().thread
        made = [Post(thread=thread, content=f"Post {n}", author_id="ann") for n in range(posts)]
        content.store_new_posts(made, actor=TESTER)
    ids = [str(post.pk) for post in made]
    yield "baseline: hide a post, one transaction each", lambda: _plain(ids)
    yield "request, one by one", lambda: _request(ids, "unhide")
    yield "run, in one process", _run
    yield "request_many", lambda: _request_many(ids, "hide")
    yield "run, qcluster with 1 worker", lambda: _cluster(log, 1)
    with in_tenant("benchmark"):
        _request_many(ids, "unhide")
    yield "run, qcluster with 2 workers", lambda: _cluster(log, 2)


def _plain(ids: list[str]) -> float:
    with in_tenant("benchmark"), _clock() as seconds:
        for pk in ids:
            with transaction.atomic():
                moderation.set_status(Post, pk, Post.Status.HIDDEN)  # type: ignore[arg-type]
    return seconds[0]


def _request(ids: list[str], what: str) -> float:
    with in_tenant("benchmark"), _clock() as seconds:
        for pk in ids:
            ask(f"forum.post.{what}", {"post_id": pk})
    return seconds[0]


def _request_many(ids: list[str], what: str) -> float:
    with in_tenant("benchmark"), _clock() as seconds:
        request_many([(f"forum.post.{what}", {"post_id": pk}) for pk in ids], actor=TESTER)
    return seconds[0]


def _run() -> float:
    with in_tenant("benchmark"), _clock() as seconds:
        runner.run_due()
    return seconds[0]


def _cluster(log: Path, workers: int) -> float:
    with _clock() as seconds, qcluster(log, workers=workers):
        wait_until(_all_succeeded, "all directives succeeded", seconds=600)
    return seconds[0]


def _all_succeeded() -> bool:
    with in_tenant("benchmark"):
        return not Directive.objects.exclude(status=Directive.Status.SUCCEEDED).exists()


@contextmanager
def _clock() -> Iterator[list[float]]:
    taken: list[float] = []
    start = time.perf_counter()
    yield taken
    taken.append(time.perf_counter() - start)


if __name__ == "__main__":
    main()
