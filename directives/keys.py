"""Idempotency keys of requests that bring none: the same wish is one directive, a new wish another."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import BooleanField, ExpressionWrapper, Q
from django.db.models.functions import Now

from directives.intake import Checked
from directives.models import Directive
from fleetprompt.queries import array
from signals.types import KEY_LENGTH, check_text

_NOW = datetime.min.replace(tzinfo=UTC)
"""The place of everything that is not for later. The database says what is: clocks may differ."""

Status = Directive.Status


class _Entry(NamedTuple):
    """A directive in the history of a line, stored or about to be."""

    key: str
    name: str
    status: str
    place: datetime
    payload: Mapping[str, Any]


def same_payload(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two payloads ask for the same; the reason, and a subject named again, do not count."""
    aside = ("reason", "subject")
    return {k: v for k, v in one.items() if k not in aside} == {
        k: v for k, v in other.items() if k not in aside
    }


def keys(wishes: Sequence[Checked], tenant: str) -> list[str]:
    """Return the key of each wish, in order, with a query per handler and two for the lines.

    Without a caller's own, it is the handler's, which ends in the subject's revision. A directive
    that is known under that key is the same wish, as long as it did not fail, was not canceled, is
    not put off beyond the time that is wanted now, and nobody has wished otherwise for the subject
    since. Else the key of the next revision is taken. So asking twice is one directive, while lock,
    unlock, lock are three, whether or not any of them has run yet.
    """
    revisions = _revisions(wishes)
    first = [
        wish.key or _default_key(wish, tenant, revision, ())
        for wish, revision in zip(wishes, revisions, strict=True)
    ]
    histories = _histories(_contested(wishes, first))
    found = []
    for wish, revision, key in zip(wishes, revisions, first, strict=True):
        history = histories.get(wish.line)
        if history is not None:
            key = wish.key or _default_key(wish, tenant, revision, history)
            if all(entry.key != key for entry in history):
                place = wish.scheduled_at or _NOW
                history.append(_Entry(key, wish.handler.name, Status.REQUESTED, place, wish.payload))
        found.append(key)
    return found


def first(wish: Checked, tenant: str) -> str:
    """Return the key of one wish as `keys` does, as long as nothing is known under it."""
    [revision] = _revisions([wish])
    return wish.key or _default_key(wish, tenant, revision, ())


def _contested(wishes: Sequence[Checked], keys: Sequence[str]) -> set[str]:
    """Return the lines whose history matters: with more than one wish here, or one whose key is known."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT idempotency_key FROM directives_directive WHERE idempotency_key = ANY(%s::text[])",
            [array(set(keys))],
        )
        known = {key for (key,) in cursor.fetchall()}
    wished = Counter(wish.line for wish in wishes if wish.line)
    return {
        wish.line
        for wish, key in zip(wishes, keys, strict=True)
        if wished[wish.line] > 1 or (wish.line and key in known)
    }


def _default_key(wish: Checked, tenant: str, revision: int, history: Sequence[_Entry]) -> str:
    known = {entry.key: index for index, entry in enumerate(history)}
    otherwise = max(
        (index for index, entry in enumerate(history) if _is_otherwise(entry, wish)), default=-1
    )
    key = ""
    while True:
        previous, key = key, wish.handler.idempotency_key(wish.parsed, tenant=tenant, revision=revision)
        check_text("idempotency_key", key, length=KEY_LENGTH, required=True)
        index = known.get(key)
        # A key without a revision stands for the same wish, whatever happened since.
        if index is None or key == previous or (index > otherwise and _is_same(history[index], wish)):
            return key
        revision += 1


def _is_otherwise(entry: _Entry, wish: Checked) -> bool:
    return (
        entry.name != wish.handler.name
        and entry.status != Status.CANCELED
        and entry.place <= (wish.scheduled_at or _NOW)
    )


def _is_same(entry: _Entry, wish: Checked) -> bool:
    if entry.name != wish.handler.name or not same_payload(entry.payload, wish.payload):
        return False
    if entry.status == Status.SUCCEEDED:
        return wish.scheduled_at is None
    waits = entry.status in (Status.REQUESTED, Status.RUNNING)
    return waits and entry.place <= (wish.scheduled_at or _NOW)


def _revisions(wishes: Sequence[Checked]) -> list[int]:
    """Return the revision of each wish's subject; 0 without one, or with a key that asks for none."""
    handlers, ids = {}, defaultdict(set)
    for wish in wishes:
        if wish.subject and not wish.key:
            handlers[wish.handler.name] = wish.handler
            ids[wish.handler.name].add(wish.subject.id)
    found = {name: handler.revisions(ids[name]) for name, handler in handlers.items()}
    nothing: Mapping[str, int] = {}
    return [
        found.get(wish.handler.name, nothing).get(wish.subject.id, 0) if wish.subject else 0
        for wish in wishes
    ]


def _histories(lines: set[str]) -> dict[str, list[_Entry]]:
    """Return all directives of each line, in the order of their places."""
    histories: dict[str, list[_Entry]] = {line: [] for line in lines}
    rows = (
        Directive.objects.filter(ordering_key__in=lines)
        .annotate(later=ExpressionWrapper(Q(queued_at__gt=Now()), BooleanField()))
        .order_by("queued_at", "id")
        .values_list("ordering_key", "idempotency_key", "name", "status", "queued_at", "later", "payload")
    )
    for line, key, name, status, queued_at, later, payload in rows:
        place = queued_at if later and status == Status.REQUESTED else _NOW
        histories[line].append(_Entry(key, name, status, place, payload))
    return histories
