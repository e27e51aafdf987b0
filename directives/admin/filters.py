"""How the list of directives is narrowed: by state, name, actor, subject type and time, and by search.

Whatever stands in the URL is answered: a value that nothing can have finds nothing.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib.admin.views.main import ChangeList
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from unfold.contrib.filters.admin import DropdownFilter, RangeDateTimeFilter

from directives import display, registry, subjects
from directives.models import Directive
from fleetprompt.distinct import distinct_values
from signals.types import ID_LENGTH, KEY_LENGTH, NAME_LENGTH, Actor, is_storable

Status = Directive.Status

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

    def queryset(self, request: HttpRequest, queryset: QuerySet[Directive]) -> QuerySet[Directive]:
        """Return those that have the value."""
        value = self.value()
        if not value:
            return queryset
        condition = self.condition(value) if is_storable(value) else None
        return queryset.none() if condition is None else queryset.filter(condition)

    def condition(self, value: str) -> Q | None:
        """Return what a value means; None when nothing can have it."""
        raise NotImplementedError


class StatusFilter(ChoiceFilter):
    """By status; those that are not due yet are apart from the other requested ones."""

    title, parameter_name = "status", "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """Return the statuses, in the order in which directives go through them."""
        return [
            (status, "Snoozed" if status == "snoozed" else Status(status).label)
            for status in ("requested", "snoozed", "running", "succeeded", "failed", "canceled")
        ]

    def condition(self, value: str) -> Q | None:
        """Return which directives have the status."""
        if value == "snoozed":
            return Q(status=Status.REQUESTED, scheduled_at__gt=Now())
        if value == Status.REQUESTED:
            return Q(status=Status.REQUESTED, scheduled_at__lte=Now())
        return Q(status=value) if value in Status.values else None


class NameFilter(ChoiceFilter):
    """By name: those that have a handler, and those of former times that only the table knows."""

    title, parameter_name = "directive", "name"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """Return the names, those with a handler by their labels."""
        known = {handler.name for handler in registry.handlers()}
        names = known.union(name for (name,) in distinct_values(Directive, "name"))
        return sorted(
            ((name, display.label(name)) for name in names), key=lambda choice: choice[1].casefold()
        )

    def condition(self, value: str) -> Q | None:
        """Return which directives have the name."""
        return Q(name=value) if len(value) <= NAME_LENGTH else None


class ActorFilter(ChoiceFilter):
    """By who asked, under the newest name; the first 100 are offered."""

    title, parameter_name = "actor", "actor"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """Return the actors, as `type:id`."""
        found = distinct_values(Directive, "actor_type", "actor_id", label="actor_label")
        return [(f"{kind}:{key}", f"{label or key} ({kind})") for kind, key, label in found]

    def condition(self, value: str) -> Q | None:
        """Return which directives the actor asked for."""
        kind, _, key = value.partition(":")
        fits = kind in Actor.TYPES and 0 < len(key) <= ID_LENGTH
        return Q(actor_type=kind, actor_id=key) if fits else None


class SubjectTypeFilter(ChoiceFilter):
    """By the type of subject."""

    title, parameter_name = "subject type", "subject_type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """Return the types."""
        return [(kind, kind) for kind in subject_types()]

    def condition(self, value: str) -> Q | None:
        """Return which directives are about subjects of the type."""
        return Q(subject_type=value) if len(value) <= NAME_LENGTH else None


class RecentFilter(ChoiceFilter):
    """By how long ago it was requested."""

    title, parameter_name = "age", "within"
    spans = {
        "1h": ("Last hour", timedelta(hours=1)),
        "24h": ("Last 24 hours", timedelta(days=1)),
        "7d": ("Last 7 days", timedelta(days=7)),
        "30d": ("Last 30 days", timedelta(days=30)),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """Return the lengths of time."""
        return [(key, label) for key, (label, _) in self.spans.items()]

    def condition(self, value: str) -> Q | None:
        """Return which directives are that young."""
        return Q(created_at__gte=Now() - self.spans[value][1]) if value in self.spans else None


class RequestedFilter(RangeDateTimeFilter):
    """By when it was requested, from and to a time in the user's zone; a day alone is all of it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = "time of the request"
        for end, whole_day in (("from", "00:00:00"), ("to", "23:59:59")):
            name = f"{self.parameter_name}_{end}"
            if self.used_parameters.get(f"{name}_0") and not self.used_parameters.get(f"{name}_1"):
                self.used_parameters[f"{name}_1"] = whole_day

    def queryset(self, request: HttpRequest, queryset: QuerySet[Directive]) -> QuerySet[Directive]:
        """Return those requested in the range; none when an end of it is no time."""
        name = self.parameter_name
        form = self.form_class(name=name, data=self.used_parameters)
        if not form.is_valid():
            return queryset.none()
        if start := form.cleaned_data.get(f"{name}_from"):
            queryset = queryset.filter(created_at__gte=start)
        if end := form.cleaned_data.get(f"{name}_to"):
            # The seconds of a form stand for themselves to their end.
            queryset = queryset.filter(created_at__lte=end + timedelta(microseconds=999_999))
        return queryset


FILTERS: list[Any] = [
    StatusFilter,
    NameFilter,
    ActorFilter,
    SubjectTypeFilter,
    RecentFilter,
    ("created_at", RequestedFilter),
]
PARAMETERS = {
    "status",
    "name",
    "actor",
    "subject_type",
    "within",
    *(f"created_at_{end}_{part}" for end in ("from", "to") for part in (0, 1)),
}
"""What may stand in the list's URL as a filter."""


def subject_types() -> list[str]:
    """Return the types that subjects have, by name: of installed apps, and found in the table."""
    found = {kind for (kind,) in distinct_values(Directive, "subject_type")}
    return sorted((found | set(subjects.types())) - {""})


def search(queryset: QuerySet[Directive], term: str) -> QuerySet[Directive]:
    """Return the directives that a person may mean by `term`; each way to find them has an index.

    Args:
        term: an id, the beginning of an idempotency key, a correlation id, a subject's id, or
            `type:id`. Case does not matter in ids.
    """
    term = term.strip()
    if not term:
        return queryset
    if len(term) > KEY_LENGTH or not is_storable(term):
        return queryset.none()
    found = Q(idempotency_key__startswith=term)
    types = subject_types()
    for text in {term, term.lower()}:
        found |= Q(correlation_id=text) | Q(subject_type__in=types, subject_id=text)
        if match := _SUBJECT.fullmatch(text):
            found |= Q(subject_type=match["type"], subject_id=match["id"])
    with suppress(ValueError):
        found |= Q(pk=UUID(term))
    return queryset.filter(found)
