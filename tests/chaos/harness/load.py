"""A requester: requests, repeats what was not answered, and operates on directives.

A process of its own, `python -m tests.chaos.harness.load`; it can be killed at any time and goes on
with its journal.
"""

import argparse
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.chaos.settings")
django.setup()

from django.db import connection  # noqa: E402
from django.utils import timezone  # noqa: E402

from directives import operations  # noqa: E402
from directives.lifecycle import failures  # noqa: E402
from directives.requests import DirectiveRequest, Requested, request_many  # noqa: E402
from fleetprompt.errors import Refused  # noqa: E402
from fleetprompt.tenants.context import in_tenant  # noqa: E402
from forums.models import Post, Thread  # noqa: E402
from signals.types import Actor  # noqa: E402
from tests.chaos.harness import restricting  # noqa: E402
from tests.chaos.harness.checks.restrictions import BEGINS, LIFTS  # noqa: E402
from tests.chaos.harness.journal import Journal, next_request  # noqa: E402
from tests.chaos.harness.requests import ON_RESTRICTIONS, Item, Request, requests, tenants  # noqa: E402

REMEMBERED = 40
TOO_LATE = "expires_at: expected a time after"
"""How a request is refused whose end has passed before it was stored."""
SPREAD = 0.95
"""The share of the time over which the requests are spread."""


class Requester:
    """Handles the requests of one requester."""

    def __init__(self, number: int, journal: Journal) -> None:
        self.actor = Actor("agent", f"requester-{number}")
        self.journal = journal
        self.number = number
        self.ends = {key: end for line in journal.before for key, end in line.get("ends", {}).items()}
        self.known: dict[str, deque[tuple[str, Any]]] = {}
        self.asked: dict[str, Item] = {}

    def handle(self, request: Request) -> None:
        """Execute the request, and repeat it until it is answered."""
        if not request.operation:
            self._ask(request, request.items)
        elif known := self._known(request):
            key, directive = known[int(request.dice * len(known))]
            if request.operation == "again":
                self._ask(request, [self.asked[key]])
            else:
                self._operate(request, directive)

    def remember(self, request: Request, answers: dict[str, str]) -> None:
        """Keep in mind what was answered to an earlier request, for operations on it."""
        for item in request.items:
            if item.key in answers:
                self.asked[item.key] = item
                recent = self.known.setdefault(request.tenant, deque(maxlen=REMEMBERED))
                recent.append((item.key, answers[item.key]))

    def _known(self, request: Request) -> list[tuple[str, Any]]:
        """Return the directives that the operation may be about."""
        known = list(self.known.get(request.tenant, ()))
        if request.operation in ON_RESTRICTIONS:
            known = [(key, pk) for key, pk in known if self.asked[key].name in _RESTRICTING]
        return known

    def _ask(self, request: Request, items: Any) -> None:
        answers: Any = TOO_LATE
        while isinstance(answers, str) and TOO_LATE in answers:
            # What is asked for again under its key has to end at the same time, unless nobody has it yet.
            answers = self._ask_once(request, items, is_new=answers != TOO_LATE)
        self.journal.write(did="ask", request=request.number, tenant=request.tenant, answers=answers)
        if not request.operation and isinstance(answers, list):
            self.remember(request, {key: pk for key, pk, _ in answers})

    def _ask_once(self, request: Request, items: Any, *, is_new: bool) -> Any:
        for item in items:
            if item.lasts and (is_new or item.key not in self.ends):
                self.ends[item.key] = (timezone.now() + timedelta(seconds=item.lasts)).isoformat()
        keys = [item.key for item in items]
        ends = {key: self.ends[key] for key in keys if key in self.ends}
        self.journal.write(do="ask", request=request.number, tenant=request.tenant, keys=keys, ends=ends)

        def ask() -> list[tuple[str, str, bool]]:
            wanted = [_request(item, request.tenant, ends.get(item.key)) for item in items]
            stored = request_many(wanted, actor=self.actor, reason="chaos")
            return [(one.idempotency_key, str(one.id), created) for one, created in stored]

        return self._insist(request.tenant, ask)

    def _operate(self, request: Request, directive: str) -> None:
        note = {
            "request": request.number,
            "tenant": request.tenant,
            "name": request.operation,
            "id": directive,
            "key": f"{request.tenant}:{self.number}:{request.number}:0",
        }
        self.journal.write(do="operate", **note)
        made: list[Requested] = []
        options: dict[str, Any] = {"actor": self.actor, "reason": "chaos"}
        if request.operation == "snooze":
            options["until"] = timezone.now() + timedelta(seconds=1 + 4 * request.dice)
        try:
            with in_tenant(request.tenant):
                if request.operation in ON_RESTRICTIONS:
                    until = timezone.now() + timedelta(seconds=1 + 4 * request.dice)
                    operate = getattr(restricting, request.operation)
                    made = operate(directive, key=note["key"], until=until, **options)
                else:
                    getattr(operations, request.operation)(directive, **options)
            answer = "done"
        except Refused as refusal:
            answer = f"refused: {refusal}"
        except Exception as error:
            # Without an answer it may have been done or not, and doing it again would be another one.
            answer = _lost(error)
        answers = [[one.idempotency_key, str(one.id), created] for one, created in made]
        self.journal.write(did="operate", answer=answer, answers=answers, **note)

    def _insist(self, tenant: str, ask: Callable[[], Any]) -> Any:
        while True:
            try:
                with in_tenant(tenant):
                    return ask()
            except Refused as refusal:
                return f"refused: {refusal}"
            except Exception as error:
                lost = _lost(error)
                if not lost.startswith("lost"):
                    return lost
                time.sleep(0.2)


def _lost(error: Exception) -> str:
    """Say what an error means, and leave a connection that works."""
    connection.close()
    kind = "lost" if failures.is_transient(error) else "error"
    return f"{kind}: {type(error).__name__}: {error}"


def _request(item: Item, tenant: str, end: str | None) -> DirectiveRequest:
    _, kind, _ = item.name.split(".")
    payload = dict(item.payload)
    if kind != "animal":
        model, field = (Post, "post_id") if item.name in _ABOUT_POSTS else (Thread, "thread_id")
        payload[field] = _ids(model, tenant)[item.target]
    at = timezone.now() + timedelta(seconds=item.later) if item.later else None
    until = datetime.fromisoformat(end) if end else None
    return DirectiveRequest(item.name, payload, idempotency_key=item.key, scheduled_at=at, expires_at=until)


_RESTRICTING = [*BEGINS, *LIFTS]
_ABOUT_POSTS = [name for name in _RESTRICTING if name.startswith("forum.post.")]


@cache
def _ids(model: Any, tenant: str) -> list[str]:
    found = model.objects.filter(external_id__isnull=False).order_by("external_id")
    return [str(pk) for pk in found.values_list("pk", flat=True)]


def main() -> None:
    """Handle the requests of one requester, evenly over the time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("journal", type=Path)
    for name in ("seed", "number", "directives", "tenants"):
        parser.add_argument(name, type=int)
    for name in ("began", "seconds"):
        parser.add_argument(name, type=float)
    options = parser.parse_args()
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
    journal = Journal(options.journal)
    requester = Requester(options.number, journal)
    told = {line["request"]: line for line in journal.before if line.get("did") == "ask"}
    first = next_request(journal.before)
    for request in requests(options.seed, options.number, options.directives, tenants(options.tenants)):
        if request.number < first:
            _recall(requester, request, told)
            continue
        due = options.began + options.seconds * SPREAD * request.share
        while not stopped and (left := due - time.time()) > 0:
            time.sleep(min(left, 0.2))
        if stopped:
            sys.exit()
        requester.handle(request)


def _recall(requester: Requester, request: Request, told: dict[int, Any]) -> None:
    answers = told.get(request.number, {}).get("answers")
    if isinstance(answers, list):
        requester.remember(request, {key: pk for key, pk, _ in answers})


if __name__ == "__main__":
    main()
