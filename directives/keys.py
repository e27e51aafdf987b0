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

    The key ends in the revision that the subject will have when the directive's turn comes: its
    current one plus one for each directive that waits before it. Those of the same name at the end
    of the line do not count, so asking twice is one directive, while lock, unlock, lock are three,
    whether or not any of them has run yet.

    That revision is a guess, because what waits may fail, be canceled or change nothing. So a
    directive that is known under the key is the same wish only if nobody has wished otherwise
    since; if somebody has, the key of the next revision is taken.
    """
    revisions = _revisions(wishes)
    lines = _lines(wishes)
    added: defaultdict[str, list[Wish]] = defaultdict(list)
    numbers, contradicted = [], []
    for wish in wishes:
        before = [name for place, name in lines[wish.line] if place <= wish.place]
        earlier = [other.handler.name for other in added[wish.line] if other.place <= wish.place]
        ahead = [*before, *earlier]
        while ahead and ahead[-1] == wish.handler.name:
            ahead.pop()
        subject = wish.handler.subject(wish.payload)
        revision = revisions.get((wish.handler.name, subject.id), 0) if subject else 0
        numbers.append(revision + len(ahead))
        contradicted.append(any(name != wish.handler.name for name in earlier))
        if wish.line:
            added[wish.line].append(wish)
    return _not_taken(wishes, numbers, contradicted, tenant)


def _not_taken(
    wishes: Sequence[Wish], numbers: Sequence[int], contradicted: Sequence[bool], tenant: str
) -> list[str]:
    """Return the keys for `numbers`, or for the next ones that no contradicted wish has taken."""
    keys = [wish.key(tenant, number) for wish, number in zip(wishes, numbers, strict=True)]
    unsure = [index for index, wish in enumerate(wishes) if wish.line]
    step = 0
    while unsure:
        step += 1
        known = _known({keys[index] for index in unsure})
        unsure = [
            index
            for index in unsure
            if (otherwise := known.get(keys[index]))
            and (contradicted[index] or otherwise <= wishes[index].place)
        ]
        for index in list(unsure):
            key = wishes[index].key(tenant, numbers[index] + step)
            if key == keys[index]:
                # The handler's key has no revision: whatever happened since, this is the same wish.
                unsure.remove(index)
            keys[index] = key
    return keys


def _known(keys: Collection[str]) -> dict[str, datetime]:
    """Return for each stored key the place of the first directive after it that wished otherwise."""
    later = Q(queued_at__gt=OuterRef("queued_at")) | Q(
        queued_at=OuterRef("queued_at"), id__gt=OuterRef("id")
    )
    others = (
        Directive.objects.filter(
            later,
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
    return {
        key: _NOW if past else otherwise or datetime.max.replace(tzinfo=UTC)
        for key, otherwise, past in rows
    }


def _revisions(wishes: Sequence[Wish]) -> dict[tuple[str, str], int]:
    subjects = defaultdict(set)
    handlers = {}
    for handler, payload, _ in wishes:
        if subject := handler.subject(payload):
            handlers[handler.name] = handler
            subjects[handler.name].add(subject.id)
    return {
        (name, subject_id): revision
        for name, ids in subjects.items()
        for subject_id, revision in handlers[name].revisions(ids).items()
    }


def _lines(wishes: Sequence[Wish]) -> defaultdict[str, list[tuple[datetime, str]]]:
    """Return place and name of what waits or runs under each ordering key, in their order."""
    keys = {wish.line for wish in wishes} - {""}
    lines: defaultdict[str, list[tuple[datetime, str]]] = defaultdict(list)
    waiting = (
        Directive.objects.filter(
            ordering_key__in=keys, status__in=[Directive.Status.REQUESTED, Directive.Status.RUNNING]
        )
        .annotate(past=ExpressionWrapper(Q(queued_at__lte=Now()), BooleanField()))
        .order_by("queued_at", "id")
    )
    for key, name, queued_at, past in waiting.values_list("ordering_key", "name", "queued_at", "past"):
        lines[key].append((_NOW if past else queued_at, name))
    return lines
