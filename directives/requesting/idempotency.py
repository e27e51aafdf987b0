"""Idempotency keys of requests that bring none: the same wish is one directive, a new wish another."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet
from django.db.models.functions import Now

from directives.models import Directive
from directives.requesting.validation import Checked
from fleetprompt.postgres.queries import array
from signals.types import KEY_LENGTH, check_identifier

_NOW = datetime.min.replace(tzinfo=UTC)
"""The place of everything that is not for later. The database says what is: clocks may differ."""

_FIRST_LOOK = 2
"""How many keys of a wish are looked up at first; then twice as many, and so on."""

Status = Directive.Status
_Group = tuple[str, str]


class _Entry(NamedTuple):
    """A directive in the history of a line, stored or about to be."""

    key: str
    name: str
    status: str
    place: datetime
    payload: Mapping[str, Any]


def same_payload(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two payloads ask for the same; the reason, and a subject named again, do not count."""
    return bool(_without(one, "reason", "subject") == _without(other, "reason", "subject"))


def _without(payload: Any, *aside: str) -> Any:
    # A row that somebody has written by hand may hold any JSON.
    if not isinstance(payload, Mapping):
        return payload
    return {field: value for field, value in payload.items() if field not in aside}


def keys(wishes: Sequence[Checked], tenant: str) -> list[str]:
    """Return the key of each wish, in order, with a query per handler and a few for all of them.

    Without a caller's own, it is the handler's, which ends in the subject's revision, or in 0 where there
    is none. A directive that is known under that key is the same wish, as long as it did not fail, was not
    canceled, is not put off beyond the time that is wanted now, and nobody has wished otherwise for the
    subject since; without a revision, as long as it has not ended. Else the next number is taken. So
    asking twice is one directive, while lock, unlock, lock are three, whether or not any has run yet.
    """
    revisions = _revisions(wishes)
    first = [
        wish.key or _numbered(wish, tenant, revision or 0)
        for wish, revision in zip(wishes, revisions, strict=True)
    ]
    groups = [_group(wish, key) for wish, key in zip(wishes, first, strict=True)]
    histories = _histories(wishes, tenant, revisions, groups, _contested(first, groups))
    found = []
    for wish, revision, key, group in zip(wishes, revisions, first, groups, strict=True):
        history = histories.get(group)
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
    return wish.key or _numbered(wish, tenant, revision or 0)


def is_pinned(wish: Checked, tenant: str) -> bool:
    """Return whether the key is the caller's or the client's: the same, whatever has become of it."""
    return wish.key is not None or _numbered(wish, tenant, 0) == _numbered(wish, tenant, 1)


def fits(wish: Checked, stored: Directive, now: datetime) -> bool:
    """Return whether a directive that is stored under the key of a wish by now is the same wish.

    Args:
        now: the database's time.
    """
    later = stored.queued_at > now
    entry = _entry(
        stored.idempotency_key, stored.name, stored.status, stored.queued_at, later, stored.payload
    )
    # It waited, or was not there, when the key was chosen: it has succeeded since.
    return _is_same(entry, wish, has_revision=True)


def _numbered(wish: Checked, tenant: str, number: int) -> str:
    key = wish.handler.idempotency_key(wish.parsed, tenant=tenant, revision=number)
    return check_identifier("idempotency_key", key, length=KEY_LENGTH, required=True)


def _group(wish: Checked, key: str) -> _Group:
    """Return what the wishes share whose keys depend on each other: the line, or else the first key."""
    return ("line", wish.line) if wish.line else ("key", key)


def _contested(keys: Sequence[str], groups: Sequence[_Group]) -> set[_Group]:
    """Return the groups whose history matters: with more than one wish here, or one whose key is known."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT idempotency_key FROM directives_directive WHERE idempotency_key = ANY(%s::text[])",
            [array(set(keys))],
        )
        known = {key for (key,) in cursor.fetchall()}
    wished = Counter(groups)
    return {group for key, group in zip(keys, groups, strict=True) if wished[group] > 1 or key in known}


def _default_key(wish: Checked, tenant: str, revision: int | None, history: Sequence[_Entry]) -> str:
    known = {entry.key: index for index, entry in enumerate(history)}
    # From the end: histories may be long, and the last entries of a lively one differ.
    otherwise = next(
        (index for index in reversed(range(len(history))) if _is_otherwise(history[index], wish)), -1
    )
    number, key = revision or 0, ""
    while True:
        previous, key = key, _numbered(wish, tenant, number)
        index = known.get(key)
        # A key without the number is the client's: it stands for the same wish, whatever happened since.
        if index is None or key == previous:
            return key
        if index > otherwise and _is_same(history[index], wish, has_revision=revision is not None):
            return key
        number += 1


def _is_otherwise(entry: _Entry, wish: Checked) -> bool:
    # With another payload the same name may put the subject into another state, such as a third place.
    same = entry.name == wish.handler.name and (
        not wish.line or _effect(entry.payload) == _effect(wish.payload)
    )
    return not same and entry.status != Status.CANCELED and entry.place <= (wish.scheduled_at or _NOW)


def _effect(payload: Mapping[str, Any]) -> Any:
    """Return what of a payload says what is to become of the subject, not whether or why."""
    return _without(payload, "reason", "subject", "expected_revision")


def _is_same(entry: _Entry, wish: Checked, *, has_revision: bool) -> bool:
    if entry.name != wish.handler.name or not same_payload(entry.payload, wish.payload):
        return False
    if entry.status == Status.SUCCEEDED:
        # Without a revision, nothing says that the subject is still as it was left.
        return has_revision and wish.scheduled_at is None
    waits = entry.status in (Status.REQUESTED, Status.RUNNING)
    return waits and entry.place <= (wish.scheduled_at or _NOW)


def _revisions(wishes: Sequence[Checked]) -> list[int | None]:
    """Return the revision of each wish's subject; None without one, or with a key that asks for none."""
    handlers, ids = {}, defaultdict(set)
    for wish in wishes:
        if wish.subject and not wish.key:
            handlers[wish.handler.name] = wish.handler
            ids[wish.handler.name].add(wish.subject.id)
    found = {name: handler.revisions(ids[name]) for name, handler in handlers.items()}
    nothing: Mapping[str, int] = {}
    return [
        found.get(wish.handler.name, nothing).get(wish.subject.id) if wish.subject else None
        for wish in wishes
    ]


def _histories(
    wishes: Sequence[Checked],
    tenant: str,
    revisions: Sequence[int | None],
    groups: Sequence[_Group],
    contested: set[_Group],
) -> dict[_Group, list[_Entry]]:
    """Return what is known in each contested group, in the order of the places or of the keys."""
    histories: dict[_Group, list[_Entry]] = {group: [] for group in contested}
    lines = [line for kind, line in contested if kind == "line"]
    if lines:
        in_lines = Directive.objects.filter(ordering_key__in=lines).order_by("queued_at", "id")
        for line, entry in _entries(in_lines):
            histories["line", line].append(entry)
    # One wish speaks for the others of its group: they have the same keys.
    open_ = {
        group: (wish, revision or 0)
        for wish, revision, group in zip(wishes, revisions, groups, strict=True)
        if group in contested and not (wish.line or wish.key)
    }
    size = _FIRST_LOOK
    while open_:
        asked = {
            group: [_numbered(wish, tenant, number + step) for step in range(size)]
            for group, (wish, number) in open_.items()
        }
        every = [key for some in asked.values() for key in some]
        known = {
            entry.key: entry for _, entry in _entries(Directive.objects.filter(idempotency_key__in=every))
        }
        for group, some in asked.items():
            histories[group] += [known[key] for key in dict.fromkeys(some) if key in known]
        open_ = {
            group: (wish, number + size)
            for group, (wish, number) in open_.items()
            if asked[group][-1] in known and asked[group][-1] != asked[group][0]
        }
        size *= 2
    return histories


def _entries(found: QuerySet[Directive]) -> Iterator[tuple[str, _Entry]]:
    """Yield the directives, each with its line."""
    rows = found.annotate(later=ExpressionWrapper(Q(queued_at__gt=Now()), BooleanField()))
    fields = ("idempotency_key", "name", "status", "queued_at", "later", "payload")
    for line, *values in rows.values_list("ordering_key", *fields):
        yield line, _entry(*values)


def _entry(
    key: str, name: str, status: str, queued_at: datetime, later: bool, payload: Mapping[str, Any]
) -> _Entry:
    place = queued_at if later and status == Status.REQUESTED else _NOW
    return _Entry(key, name, status, place, payload)
