"""Idempotency keys of requests that bring none: the same wish is one directive, a new wish another."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from directives.models import Directive
from directives.registry import AnyHandler
from signals.types import KEY_LENGTH, check_text

Wish = tuple[AnyHandler, Any]
"""A handler and its parsed payload."""


def default_keys(wishes: Sequence[Wish], tenant: str) -> list[str]:
    """Return the default key of each wish, in order, with a query per handler and one for the lines.

    The key ends in the revision that the subject will have when the directive's turn comes: its
    current one plus one for each directive that waits before it. Those of the same name at the end
    of the line do not count, so asking twice is one directive, while lock, unlock, lock are three,
    whether or not any of them has run yet.
    """
    revisions = _revisions(wishes)
    lines = _lines(wishes)
    keys = []
    for handler, payload in wishes:
        subject = handler.subject(payload)
        line = lines[handler.ordering_key(payload)]
        ahead = len(line)
        while ahead and line[ahead - 1] == handler.name:
            ahead -= 1
        revision = revisions.get((handler.name, subject.id), 0) if subject else 0
        key = handler.idempotency_key(payload, tenant=tenant, revision=revision + ahead)
        keys.append(check_text("idempotency_key", key, length=KEY_LENGTH, required=True))
        if handler.ordering_key(payload):
            line.append(handler.name)
    return keys


def _revisions(wishes: Sequence[Wish]) -> dict[tuple[str, str], int]:
    subjects = defaultdict(set)
    handlers = {}
    for handler, payload in wishes:
        if subject := handler.subject(payload):
            handlers[handler.name] = handler
            subjects[handler.name].add(subject.id)
    return {
        (name, subject_id): revision
        for name, ids in subjects.items()
        for subject_id, revision in handlers[name].revisions(ids).items()
    }


def _lines(wishes: Sequence[Wish]) -> defaultdict[str, list[str]]:
    """Return the names of the directives that wait or run under each ordering key, in their order."""
    keys = {handler.ordering_key(payload) for handler, payload in wishes} - {""}
    lines: defaultdict[str, list[str]] = defaultdict(list)
    waiting = Directive.objects.filter(
        ordering_key__in=keys, status__in=[Directive.Status.REQUESTED, Directive.Status.RUNNING]
    ).order_by("queued_at", "id")
    for key, name in waiting.values_list("ordering_key", "name"):
        lines[key].append(name)
    return lines
