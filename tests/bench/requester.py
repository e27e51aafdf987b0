"""A process that asks for one post after another to be hidden: by directives, or by plain tasks.

Reads `{"posts": [...], "slug": ..., "plain": ..., "pause": [least, most], "seed": ..., "batch": ...}` from
its standard input and writes `{"began": ..., "xids": [...]}`: when its first request was committed, in
seconds since the epoch, and the transaction of each, when there are pauses.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from django.conf import settings


def start(
    slug: str,
    posts: list[str],
    *,
    plain: bool = False,
    pause: tuple[float, float] = (0, 0),
    batch: str = "",
    seed: int = 1,
) -> "subprocess.Popen[str]":
    """Start a requester; `answer` waits for it.

    Args:
        plain: whether it asks for tasks of plain django-q2.
        pause: seconds between two requests, at least and at most; none by default.
        batch: the correlation id of directives.
    """
    wanted = {"posts": posts, "slug": slug, "plain": plain, "pause": pause, "seed": seed, "batch": batch}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.requester"],
        cwd=settings.BASE_DIR,
        env={**os.environ, "DATABASE_OWNER_URL": "", "BENCH_PLAIN": "1" if plain else ""},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin
    process.stdin.write(json.dumps(wanted))
    process.stdin.close()
    return process


def answer(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """Wait until the requester has asked for everything; return what it wrote."""
    assert process.stdout
    written = process.stdout.read()
    if process.wait():
        raise RuntimeError(f"the requester ended with status {process.returncode}")
    answered: dict[str, Any] = json.loads(written)
    return answered


def main() -> None:
    """Ask as the standard input says."""
    import django

    django.setup()
    from fleetprompt.tenants.context import in_tenant

    wanted = json.load(sys.stdin)
    with in_tenant(wanted["slug"]) as tenant:
        ask = _plainly(tenant.schema_name) if wanted["plain"] else _by_directive(wanted["batch"])
        print(json.dumps(_ask_all(wanted, ask)))  # noqa: T201 - what the other process reads


def _by_directive(batch: str) -> Callable[[str], Any]:
    from directives.requests import request
    from tests.bench.world import REQUESTER

    return lambda post: request(
        "forum.post.hide", {"post_id": post}, actor=REQUESTER, reason="spam", correlation_id=batch or None
    )


def _plainly(schema: str) -> Callable[[str], Any]:
    from django_q.tasks import async_task

    return lambda post: async_task("tests.bench.plain.hide", schema, post)


def _ask_all(wanted: dict[str, Any], ask: Callable[[str], Any]) -> dict[str, Any]:
    chance, pauses = random.Random(wanted["seed"]), any(wanted["pause"])
    began, xids = 0.0, []
    for post in wanted["posts"]:
        if pauses:
            time.sleep(chance.uniform(*wanted["pause"]))
            xids.append(_with_transaction(ask, post))
        else:
            ask(post)
        began = began or time.time()
    return {"began": began, "xids": xids}


def _with_transaction(ask: Callable[[str], Any], post: str) -> str:
    from django.db import connection, transaction

    with transaction.atomic(), connection.cursor() as cursor:
        ask(post)
        cursor.execute("SELECT pg_current_xact_id()::text")
        return str(cursor.fetchone()[0])


if __name__ == "__main__":
    main()
