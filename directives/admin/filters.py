"""How lists of directives and signals are narrowed: what both have in common, each part by an index.

Whatever stands in the URL is answered: a value that nothing can have finds nothing.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from django.contrib.admin.views.main import ChangeList
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.contrib.filters.admin import DropdownFilter, RangeDateTimeFilter
from unfold.utils import parse_datetime_str

from directives import subjects
from fleetprompt.queries import distinct
from signals.types import ID_LENGTH, KEY_LENGTH, NAME_LENGTH, Actor, is_storable

_BOUNDS = {"from": "00:00:00", "to": "23:59:59"}
_SUBJECT = re.compile(r"(?P<type>[a-z0-9_]+(?:\.[a-z0-9_]+)+):(?P<id>.+)")


class ChoiceFilter(DropdownFilter):
    """A filter by one of several values."""

    lookup_choices: list[tuple[str, str]]

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        """Return the choices; a value that is none of them, from a link or by hand, is one too."""
        value = self.value()
        if value and value not in dict(self.lookup_choices):
            self.lookup_choices.append((value, value))
        yield from super().choices(changelist)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return those that have the value."""
        value = self.value()
        if not value:
            return queryset
        condition = self.condition(value) if is_storable(value) else None
        return queryset.none() if condition is None else queryset.filter(condition)

    def condition(self, value: str) -> Q | None:
        """Return what a value means; None when nothing can have it."""
        return Q(**{self.parameter_name: value}) if len(value) <= NAME_LENGTH else None


class ActorFilter(ChoiceFilter):
    """By who is behind it, by type and id: labels change."""

    title, parameter_name = "actor", "actor"
    newest: Sequence[str] = ()
    """The fields by which an index tells an actor's newest label."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """Return the actors that there are, as `type:id`."""
        fields = ("actor_type", "actor_id")
        found = distinct(model_admin.model, *fields, also=["actor_label"], newest=self.newest)
        return [(f"{kind}:{key}", f"{label or key} ({kind})") for kind, key, label in found]

    def condition(self, value: str) -> Q | None:
        """Return which rows the actor is behind."""
        kind, _, key = value.partition(":")
        fits = kind in Actor.TYPES and 0 < len(key) <= ID_LENGTH
        return Q(actor_type=kind, actor_id=key) if fits else None


class SubjectTypeFilter(ChoiceFilter):
    """By the type of subject."""

    title, parameter_name = "subject type", "subject_type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """Return the types."""
        return [(kind, kind) for kind in subject_types(model_admin.model)]


class MomentFilter(RangeDateTimeFilter):
    """Between two times in the user's zone; a day alone is all of it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = "time, from and to"
        for bound, time in _BOUNDS.items():
            name = f"{self.parameter_name}_{bound}"
            if self.used_parameters.get(f"{name}_0") and not self.used_parameters.get(f"{name}_1"):
                self.used_parameters[f"{name}_1"] = time

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return those of that time; none when a bound is no time."""
        since, until = (self._moment(bound) for bound in _BOUNDS)
        if None in (since, until):
            return queryset.none()
        if since:
            queryset = queryset.filter(**{f"{self.parameter_name}__gte": since})
        if until:
            # The form knows no fractions: a second is meant with all of them.
            end = until.replace(microsecond=999_999)
            queryset = queryset.filter(**{f"{self.parameter_name}__lte": end})
        return queryset

    def _moment(self, bound: str) -> datetime | Literal[False] | None:
        """Return the time of a bound, False where none was given, None for what is no time."""
        parts = [self.used_parameters.get(f"{self.parameter_name}_{bound}_{part}") for part in (0, 1)]
        if not any(parts):
            return False
        naive = parse_datetime_str(" ".join(part or "" for part in parts))
        return timezone.make_aware(naive) if naive else None


def parameters(filters: Iterable[Any]) -> set[str]:
    """Return what may stand in a list's URL for its filters."""
    found = set()
    for one in filters:
        if isinstance(one, tuple):
            found |= {f"{one[0]}_{bound}_{part}" for bound in _BOUNDS for part in (0, 1)}
        else:
            found.add(one.parameter_name)
    return found


def subject_types(model: type[Model]) -> list[str]:
    """Return the types that subjects have, by name: of installed apps, and found in the table."""
    found = {kind for (kind,) in distinct(model, "subject_type")}
    return sorted((found | set(subjects.types())) - {""})


def search(queryset: QuerySet[Any], term: str, *, key: str, ids: Sequence[str]) -> QuerySet[Any]:
    """Return the rows that a person may mean by `term`; each way to find them has an index.

    Args:
        term: an id, the beginning of a key, one of `ids`, a subject's id, or `type:id`. Case does
            not matter in ids.
        key: the field whose beginning counts.
        ids: fields that must be equal.
    """
    term = term.strip()
    if not term:
        return queryset
    if len(term) > KEY_LENGTH or not is_storable(term):
        return queryset.none()
    found = Q(**{f"{key}__startswith": term})
    types = subject_types(queryset.model)
    for text in {term, term.lower()}:
        # The index on subjects begins with their type.
        found |= Q(subject_type__in=types, subject_id=text)
        for field in ids:
            found |= Q(**{field: text})
        if match := _SUBJECT.fullmatch(text):
            found |= Q(subject_type=match["type"], subject_id=match["id"])
    with suppress(ValueError):
        found |= Q(pk=UUID(term))
    return queryset.filter(found)
