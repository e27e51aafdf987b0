"""How the list of signals is narrowed down: filters and a search that each start at an index."""

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.contrib.filters.admin import DropdownFilter, RangeDateTimeFilter
from unfold.utils import parse_datetime_str

from fleetprompt.errors import Refused
from fleetprompt.queries import distinct
from signals.models import Signal
from signals.types import KEY_LENGTH, check_moment, is_storable

CHOICES = 200
"""How many choices a filter offers; others can still stand in the address."""

_BOUNDS = {"from": "00:00:00", "to": "23:59:59"}


class _ValueFilter(DropdownFilter):
    """A filter by one value of the signal; a value that no signal can have leaves none."""

    def condition(self, value: str) -> Q:
        """Return which signals have the value."""
        return Q(**{self.parameter_name: value})

    def queryset(self, request: HttpRequest, queryset: QuerySet[Signal]) -> QuerySet[Signal]:
        """Keep the signals with the chosen value."""
        value = self.value()
        if not value:
            return queryset
        return queryset.filter(self.condition(value)) if is_storable(value) else queryset.none()


class NameFilter(_ValueFilter):
    """Signals of one name."""

    title, parameter_name = "name", "name"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """Offer the names that there are."""
        return [(name, name) for (name,) in distinct(Signal, "name", limit=CHOICES)]


class ActorFilter(_ValueFilter):
    """Signals of one actor, by type and id: labels change."""

    title, parameter_name = "actor", "actor"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """Offer the actors that there are."""
        actors = distinct(Signal, "actor_type", "actor_id", limit=CHOICES, also=["actor_label"])
        return [
            (f"{kind}:{pk}", f"{label} ({kind} {pk})" if label else f"{kind} {pk}")
            for kind, pk, label in actors
        ]

    def condition(self, value: str) -> Q:
        """Return which signals the actor is behind."""
        kind, _, pk = value.partition(":")
        return Q(actor_type=kind, actor_id=pk)


class SubjectTypeFilter(_ValueFilter):
    """Signals about subjects of one type."""

    title, parameter_name = "subject type", "subject_type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """Offer the types that there are."""
        return [(kind, kind) for kind in _subject_types() if kind]


class MomentFilter(RangeDateTimeFilter):
    """Signals between two times in the user's zone; a date alone is the whole day."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for bound, time in _BOUNDS.items():
            name = f"{self.parameter_name}_{bound}"
            if self.used_parameters.get(f"{name}_0") and not self.used_parameters.get(f"{name}_1"):
                self.used_parameters[f"{name}_1"] = time

    def queryset(self, request: HttpRequest, queryset: QuerySet[Signal]) -> QuerySet[Signal]:
        """Keep the signals of that time; none when a bound is no time."""
        try:
            since, until = self._moment("from"), self._moment("to")
        except (Refused, OverflowError):
            return queryset.none()
        if since:
            queryset = queryset.filter(**{f"{self.parameter_name}__gte": since})
        if until:
            # The form knows no fractions: a second is meant with all of them.
            end = until + timedelta(seconds=1)
            queryset = queryset.filter(**{f"{self.parameter_name}__lt": end})
        return queryset

    def _moment(self, bound: str) -> datetime | None:
        parts = [self.used_parameters.get(f"{self.parameter_name}_{bound}_{part}") for part in (0, 1)]
        if not any(parts):
            return None
        naive = parse_datetime_str(" ".join(part or "" for part in parts))
        return check_moment(bound, naive and timezone.make_aware(naive))


def search(queryset: QuerySet[Signal], term: str) -> QuerySet[Signal]:
    """Keep the signals that a term names.

    Args:
        term: an id, a dedupe key or how it begins, a correlation or causation id, a subject's id or
            `type:id`. What can be none of them finds nothing.
    """
    if len(term) > KEY_LENGTH or not is_storable(term):
        return queryset.none()
    # The index on subjects begins with their type.
    found = Q(subject_type__in=_subject_types(), subject_id=term)
    found |= Q(dedupe_key__startswith=term) | Q(correlation_id=term) | Q(causation_id=term)
    kind, _, pk = term.partition(":")
    if kind and pk:
        found |= Q(subject_type=kind, subject_id=pk)
    with suppress(ValueError):
        found |= Q(pk=UUID(term))
    return queryset.filter(found)


def _subject_types() -> list[str]:
    return [kind for (kind,) in distinct(Signal, "subject_type", limit=CHOICES)]
