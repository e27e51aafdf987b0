"""One process of the load: does what people and agents do, at a given pace, until it is told to stop.

Reads `{"slugs": [...], "rate": ..., "seed": ...}` from its standard input; `rate` is directives a second.
"""

import json
import random
import signal
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from types import FrameType
from typing import Any
from uuid import uuid4

import django

POSTS = 400
"""Posts in each tenant at first."""
READS = 0.2
"""Reads for each thing that is asked."""
_stopped = False


def main() -> None:
    """Load as the standard input says."""
    django.setup()
    signal.signal(signal.SIGTERM, _stop)
    wanted = json.load(sys.stdin)
    from fleetprompt.tenants.context import in_tenant

    chance = random.Random(wanted["seed"])
    # Actions by how often they are chosen; each returns how many directives it asked for.
    actions: dict[Callable[[random.Random], int], int] = {
        _single: 60,
        _create: 15,
        _fail: 5,
        _rerun: 6,
        _snooze: 6,
        _wave: 2,
    }
    due = time.monotonic()
    while not _stopped:
        with in_tenant(chance.choice(wanted["slugs"])):
            [action] = chance.choices(list(actions), list(actions.values()))
            due += action(chance) / wanted["rate"]
            if chance.random() < READS:
                _read(chance)
        # Who falls behind does not try to make up for it: that would be another load.
        due = max(due, time.monotonic() - 1)
        time.sleep(max(due - time.monotonic(), 0))


def _stop(signum: int, frame: FrameType | None) -> None:
    global _stopped
    _stopped = True


def _options(reason: str = "soak") -> dict[str, Any]:
    from tests.bench.world import REQUESTER

    return {"actor": REQUESTER, "reason": reason}


def _some_posts(chance: random.Random, count: int) -> list[str]:
    """Return the ids of posts of the active tenant, any of those there were at first."""
    from forums.models import Post

    first = Post.objects.filter(external_id__startswith="soak ").order_by("external_id")
    start = chance.randrange(POSTS - count + 1)
    return [str(pk) for pk in first.values_list("pk", flat=True)[start : start + count]]


def _single(chance: random.Random) -> int:
    from directives.requests import request

    [post] = _some_posts(chance, 1)
    request(f"forum.post.{chance.choice(['hide', 'unhide'])}", {"post_id": post}, **_options())
    return 1


def _wave(chance: random.Random) -> int:
    from directives.requests import request_many

    name = f"forum.post.{chance.choice(['hide', 'unhide'])}"
    posts = _some_posts(chance, chance.randrange(50, 200))
    request_many([(name, {"post_id": post}) for post in posts], **_options("spam"))
    return len(posts)


def _create(chance: random.Random) -> int:
    from directives.requests import request
    from forums.models import Thread

    thread = Thread.objects.earliest("created_at")
    payload = {
        "thread_id": str(thread.pk),
        "content": "What an agent has to say about this. " * chance.randrange(1, 20),
        "author_type": "agent",
        "author_id": "helper",
        "client_request_id": uuid4().hex,
    }
    request("forum.post.create", payload, **_options())
    return 1


def _fail(chance: random.Random) -> int:
    from directives.requests import request

    request("forum.post.hide", {"post_id": str(uuid4())}, **_options("hide what is not there"))
    return 1


def _rerun(chance: random.Random) -> int:
    from directives import operations
    from directives.errors import Refused
    from directives.models import Directive

    ended = Directive.objects.filter(status=Directive.Status.SUCCEEDED, name__startswith="forum.post.")
    recent = list(ended.order_by("-created_at", "-id").values_list("pk", flat=True)[:20])
    if recent:
        try:
            operations.rerun(chance.choice(recent), **_options())
        except Refused:
            return 0  # It was rerun by the other process.
    return len(recent[:1])


def _snooze(chance: random.Random) -> int:
    from django.utils import timezone

    from directives import operations
    from directives.errors import Refused
    from directives.requests import request

    now = timezone.now()
    [post] = _some_posts(chance, 1)
    asked = request(
        "forum.post.hide",
        {"post_id": post},
        scheduled_at=now + timedelta(seconds=5),
        idempotency_key=uuid4().hex,
        **_options(),
    )
    try:
        until = now + timedelta(seconds=chance.uniform(1, 4))
        operations.snooze(asked.directive.id, until, **_options("later"))
    except Refused:
        return 1
    return 1


def _read(chance: random.Random) -> None:
    """Read what a moderator's pages show: the newest, how many of each status, one's history."""
    from django.db.models import Count

    from directives.models import Directive
    from signals.models import Signal

    newest = list(Directive.objects.order_by("-created_at", "-id")[:100])
    dict(Directive.objects.order_by().values_list("status").annotate(count=Count("pk")))
    if newest:
        list(Signal.objects.filter(causation_id=str(chance.choice(newest).pk)))


if __name__ == "__main__":
    main()
