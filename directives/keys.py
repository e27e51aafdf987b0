"""Idempotency keys of requests that bring none: the same wish is one directive, a new wish another."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.db.models import BooleanField, ExpressionWrapper, OuterRef, Q, Subquery
from django.db.models.functions import Now

from directives.models import Directive
from directives.registry import AnyHandler
from signals.types import KEY_LENGTH, check_text

_NOW = datetime.min.replace(tzinfo=UTC)
"""The place of everything that is not for later. The database says what is: clocks may differ."""
_NEVER = datetime.max.replace(tzinfo=UTC)


class Wish(NamedTuple):
    """A handler, its parsed payload, and the time that it is wanted for, unless now."""

    handler: AnyHandler
    payload: Any
    at: datetime | None

    @property
    def line(self) -> str:
        """The ordering key."""
        return self.handler.ordering_key(self.payload)

    @property
    def place(self) -> datetime:
        """Where it will stand in its line."""
        return self.at or _NOW

    def key(self, tenant: str, revision: int) -> str:
        """Return the handler's default key for that revision of the subject."""
        key = self.handler.idempotency_key(self.payload, tenant=tenant, revision=revision)
        return check_text("idempotency_key", key, length=KEY_LENGTH, required=True)


def default_keys(wishes: Sequence[Wish], tenant: str) -> list[str]:
    """Return the default key of each wish, in order, with a few queries for all of them.

    The key ends in the subject's revision. A directive that is known under it is the same wish, as
    long as nobody has wished otherwise for the subject since; if somebody has, the key of the next
    revision is taken. So asking twice is one directive, while lock, unlock, lock are three, whether
    any of them has run yet, failed, was canceled or changed nothing.
    """
    revisions = _revisions(wishes)
    keys = [wish.key(tenant, revision) for wish, revision in zip(wishes, revisions, strict=True)]
    unsure = {index for index, wish in enumerate(wishes) if wish.line}
    step = 0
    while unsure:
        step += 1
        taken = _taken(wishes, keys, unsure)
        unsure = set()
        for index in taken:
            key = wishes[index].key(tenant, revisions[index] + step)
            # A key without a revision stands for the same wish, whatever happened since.
            if key != keys[index]:
                keys[index] = key
                unsure.add(index)
    return keys


def _revisions(wishes: Sequence[Wish]) -> list[int]:
    """Return the revision of each wish's subject, 0 without one, with a query per handler."""
    subjects = [wish.handler.subject(wish.payload) for wish in wishes]
    handlers, ids = {}, defaultdict(set)
    for wish, subject in zip(wishes, subjects, strict=True):
        if subject:
            handlers[wish.handler.name] = wish.handler
            ids[wish.handler.name].add(subject.id)
    found = {name: handler.revisions(ids[name]) for name, handler in handlers.items()}
    return [
        found[wish.handler.name].get(subject.id, 0) if subject else 0
        for wish, subject in zip(wishes, subjects, strict=True)
    ]


def _taken(wishes: Sequence[Wish], keys: Sequence[str], unsure: Collection[int]) -> set[int]:
    """Return which of `unsure` have a key that stands for an earlier and since contradicted wish.

    Earlier wishes are stored directives, and those that come before in the same batch.
    """
    contradicted_from = _contradicted_from({keys[index] for index in unsure})
    lines: defaultdict[str, list[int]] = defaultdict(list)
    taken: set[int] = set()
    for index, wish in enumerate(wishes):
        if not wish.line:
            continue
        line = lines[wish.line]
        twin = next((other for other in reversed(line) if keys[other] == keys[index]), None)
        since = line if twin is None else line[line.index(twin) + 1 :]
        otherwise = any(_contradicts(wishes[other], wish) for other in since)
        if twin is None and keys[index] in contradicted_from:
            contradicted = otherwise or contradicted_from[keys[index]] <= wish.place
        else:
            # What the earlier twin goes on to, this one goes on to as well.
            contradicted = twin is not None and (otherwise or twin in taken)
        if contradicted and index in unsure:
            taken.add(index)
        line.append(index)
    return taken


def _contradicts(other: Wish, wish: Wish) -> bool:
    return other.handler.name != wish.handler.name and other.place <= wish.place


def _contradicted_from(keys: Collection[str]) -> dict[str, datetime]:
    """Return for each stored key the place of the first directive after it that wished otherwise."""
    after = Q(queued_at__gt=OuterRef("queued_at")) | Q(
        queued_at=OuterRef("queued_at"), id__gt=OuterRef("id")
    )
    others = (
        Directive.objects.filter(
            after,
            subject_type=OuterRef("subject_type"),
            subject_id=OuterRef("subject_id"),
            ordering_key=OuterRef("ordering_key"),
        )
        .exclude(name=OuterRef("name"))
        .exclude(status=Directive.Status.CANCELED)
        .order_by("queued_at")
    )
    rows = (
        Directive.objects.filter(idempotency_key__in=keys)
        .annotate(otherwise=Subquery(others.values("queued_at")[:1]))
        .annotate(past=ExpressionWrapper(Q(otherwise__lte=Now()), BooleanField()))
        .values_list("idempotency_key", "otherwise", "past")
    )
    return {key: _NOW if past else otherwise or _NEVER for key, otherwise, past in rows}
