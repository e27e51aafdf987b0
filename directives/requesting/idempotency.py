"""Decide whether a request whose default key is known repeats a directive, or asks anew under another key.

A default key ends in the subject's revision, or in 0 where there is none. A directive that is known under
that key is the same request, as long as it did not fail, was not canceled, is not put off beyond the time
that is wanted now, and no other directive for the subject was requested since; without a revision, as long
as it has not ended. Otherwise the next number is taken. So asking twice is one directive, while lock,
unlock, lock are three, whether or not any has run yet.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, NamedTuple

from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet

from directives.models import Directive
from directives.requesting.validation import ValidatedRequest
from fleetprompt.postgres.queries import ClockTimestamp
from fleetprompt.tenants.context import active_tenant
from signals.types import has_keyed_digest

_NOW = datetime.min.replace(tzinfo=UTC)
"""The place of everything that is not for later. The database says what is: clocks may differ."""
PURPOSE = "payload of a directive"
"""What the keyed digests of personal values are for; see `signals.types.keyed_digest`."""
_OF_THE_REQUEST = ("reason", "subject", "expected_revision")
"""The fields of a payload that are about the request, not about what it does."""
_FIRST_LOOK = 2
"""How many keys of a request are looked up at first; then twice as many, and so on."""

Status = Directive.Status
_Group = tuple[str, str]
"""What requests with dependent keys share: `ordering` and that key, or else `key` and their first key."""


class _Entry(NamedTuple):
    """A directive in the history of a group, stored or about to be."""

    key: str
    name: str
    status: str
    place: datetime
    payload: Mapping[str, Any]
    expires_at: datetime | None
    personal: Mapping[str, Any] | None = MappingProxyType({})
    personal_digest: str = ""


def resolve(
    requests: Sequence[ValidatedRequest],
    tenant: str,
    revisions: Sequence[int | None],
    keys: Sequence[str],
    known: Set[str],
) -> list[str]:
    """Return the key of each request, in order, with a few queries for all of them.

    Args:
        revisions: of their subjects.
        keys: their first ones.
        known: those of `keys` that directives have.
    """
    groups = [
        ("ordering", request.ordering_key) if request.ordering_key else ("key", key)
        for request, key in zip(requests, keys, strict=True)
    ]
    sizes, asked = Counter(groups), list(zip(requests, revisions, keys, groups, strict=True))
    rivals: dict[_Group, tuple[ValidatedRequest, int]] = {}
    for request, revision, key, group in asked:
        is_contested = sizes[group] > 1 or key in known
        if is_contested and (group not in rivals or rivals[group][0].key):
            rivals[group] = request, revision or 0
    histories = _histories(rivals, tenant)
    found = []
    for request, revision, key, group in asked:
        history = histories.get(group)
        if history is not None:
            key = request.key or _default_key(request, tenant, revision, history)
            if all(entry.key != key for entry in history):
                name, place = request.handler.name, _place(request)
                entry = _Entry(key, name, Status.REQUESTED, place, request.payload, request.expires_at)
                history.append(entry)
        found.append(key)
    return found


def is_same(request: ValidatedRequest, stored: Directive, now: datetime) -> bool:
    """Return whether what is stored under a request's key is what it asks for, at the database's `now`."""
    entry = _entry(stored, later=stored.queued_at > now)
    # It waited, or was not there, when the key was chosen: it has succeeded since.
    return _is_same(entry, request, has_revision=True)


def same_payload(stored: Directive | _Entry, request: ValidatedRequest) -> bool:
    """Return whether a request asks for what is stored; a reason, or a subject named again, does not count.

    What was erased is compared by its digest.
    """
    return _is_alike(stored, request, "reason", "subject")


def same_command(one: Any, other: Any) -> bool:
    """Return whether two payloads do the same to their subject, at whatever revision each expects it."""
    return bool(_without(one, *_OF_THE_REQUEST) == _without(other, *_OF_THE_REQUEST))


def _is_alike(stored: Directive | _Entry, request: ValidatedRequest, *aside: str) -> bool:
    if stored.personal is None:
        values, digest = request.handler.personal_values(request.payload), stored.personal_digest
        if bool(values) != bool(digest):
            return False
        if values and not has_keyed_digest(digest, values, purpose=PURPOSE, tenant=active_tenant().slug):
            return False
        aside = (*aside, *request.handler.personal_fields)
    return bool(_without(stored.payload, *aside) == _without(request.payload, *aside))


def _without(payload: Any, *aside: str) -> Any:
    # A row that was written by hand may hold any JSON.
    if not isinstance(payload, Mapping):
        return payload
    return {field: value for field, value in payload.items() if field not in aside}


def _default_key(
    request: ValidatedRequest, tenant: str, revision: int | None, history: Sequence[_Entry]
) -> str:
    known = {entry.key: index for index, entry in enumerate(history)}
    # From the end: histories may be long, and the last entries of a lively one differ.
    otherwise = next(
        (index for index in reversed(range(len(history))) if _is_otherwise(history[index], request)), -1
    )
    number, key = revision or 0, ""
    while True:
        previous, key = key, request.numbered_key(tenant, number)
        index = known.get(key)
        # A key without the number is the client's: it stays, whatever happened since.
        if index is None or key == previous:
            return key
        if index > otherwise and _is_same(history[index], request, has_revision=revision is not None):
            return key
        number += 1


def _is_otherwise(entry: _Entry, request: ValidatedRequest) -> bool:
    # With another payload the same name may put the subject into another state, such as a third place.
    is_alike = entry.name == request.handler.name and (
        not request.ordering_key
        or (_is_alike(entry, request, *_OF_THE_REQUEST) and entry.expires_at == request.expires_at)
    )
    return not is_alike and entry.status != Status.CANCELED and entry.place <= _place(request)


def _is_same(entry: _Entry, request: ValidatedRequest, *, has_revision: bool) -> bool:
    if entry.name != request.handler.name or entry.expires_at != request.expires_at:
        return False
    if not same_payload(entry, request):
        return False
    if entry.status == Status.SUCCEEDED:
        # Without a revision, nothing says that the subject is still as it was left.
        return has_revision and request.scheduled_at is None
    return entry.status in (Status.REQUESTED, Status.RUNNING) and entry.place <= _place(request)


def _place(request: ValidatedRequest) -> datetime:
    return request.scheduled_at or _NOW


def _histories(
    rivals: Mapping[_Group, tuple[ValidatedRequest, int]], tenant: str
) -> dict[_Group, list[_Entry]]:
    """Return the stored directives of each group, in the order of their places or of their keys.

    All requests of a group have the same keys: `rivals` has one of each, and its first number.
    """
    histories: dict[_Group, list[_Entry]] = {group: [] for group in rivals}
    ordering_keys = [key for kind, key in rivals if kind == "ordering"]
    if ordering_keys:
        ordered = Directive.objects.filter(ordering_key__in=ordering_keys).order_by("queued_at", "id")
        for ordering_key, entry in _entries(ordered):
            histories["ordering", ordering_key].append(entry)
    pending = {
        group: (request, number)
        for group, (request, number) in rivals.items()
        if not (request.ordering_key or request.key)
    }
    size = _FIRST_LOOK
    while pending:
        asked = {
            group: [request.numbered_key(tenant, number + step) for step in range(size)]
            for group, (request, number) in pending.items()
        }
        every = [key for keys in asked.values() for key in keys]
        known = {
            entry.key: entry for _, entry in _entries(Directive.objects.filter(idempotency_key__in=every))
        }
        for group, keys in asked.items():
            histories[group] += [known[key] for key in dict.fromkeys(keys) if key in known]
        pending = {
            group: (request, number + size)
            for group, (request, number) in pending.items()
            if asked[group][-1] in known and asked[group][-1] != asked[group][0]
        }
        size *= 2
    return histories


def _entries(found: QuerySet[Directive]) -> Iterator[tuple[str, _Entry]]:
    """Yield the directives, each with its ordering key."""
    # The statement's own time may be before that of a row which it sees.
    later = ExpressionWrapper(Q(queued_at__gt=ClockTimestamp()), BooleanField())
    rows: Any = found.annotate(later=later).only(
        *("ordering_key", "idempotency_key", "name", "status", "queued_at"),
        *("payload", "expires_at", "personal", "personal_digest"),
    )
    for stored in rows:
        yield stored.ordering_key, _entry(stored, later=stored.later)


def _entry(stored: Directive, *, later: bool) -> _Entry:
    return _Entry(
        stored.idempotency_key,
        stored.name,
        stored.status,
        stored.queued_at if later and stored.status == Status.REQUESTED else _NOW,
        stored.payload,
        stored.expires_at,
        stored.personal,
        stored.personal_digest,
    )
