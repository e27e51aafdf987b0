"""Filters and search that the lists of directives and signals share; each condition has an index.

Every value in the URL is answered: one that no row can have finds nothing.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.contrib.admin.views.main import SEARCH_VAR, ChangeList
from django.db.models import BooleanField, F, Func, Model, Q, QuerySet, Value
from django.http import HttpRequest
from unfold.contrib.filters.admin import DropdownFilter, RangeDateTimeFilter
from unfold.contrib.filters.forms import RangeDateTimeForm
from unfold.utils import parse_datetime_str

from directives import registry
from directives.display import labels
from fleetprompt.postgres.primary_keys import parse_uuid
from fleetprompt.postgres.queries import by_index, distinct
from fleetprompt.web import timezone
from fleetprompt.web.limits import COUNTED
from fleetprompt.web.model_admin import BigChangeList, DetailModelAdmin, column
from signals.types import ID_LENGTH, KEY_LENGTH, NAME_LENGTH, Actor, is_storable

_BOUNDS = {"from": "00:00:00", "to": "23:59:59"}
_ENDS = ("from_0", "from_1", "to_0", "to_1", "zone")
_SUBJECT = re.compile(r"(?P<type>[a-z0-9_]+(?:\.[a-z0-9_]+)+):(?P<id>.+)")


class ChoiceFilter(DropdownFilter):
    """A filter by one of several values, made by `choice_filter`."""

    values: Callable[[type[Model]], Iterable[tuple[str, str]]]
    condition: Callable[[str], Q | None]
    lookup_choices: list[tuple[str, str]]

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """Return the values, each with what people call it."""
        return self.values(model_admin.model)

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


def choice_filter(
    title: str,
    parameter: str,
    values: Callable[[type[Model]], Iterable[tuple[str, str]]],
    condition: Callable[[str], Q | None] | None = None,
) -> type[ChoiceFilter]:
    """Return a filter of a list.

    Args:
        parameter: its name in the URL.
        values: returns what there is to choose for a model, each with what people call it.
        condition: returns what a value means, None when nothing can have it; by default, that the field
            named like the parameter has the value.
    """

    def equal(value: str) -> Q | None:
        return Q(**{parameter: value}) if len(value) <= NAME_LENGTH else None

    members = {"title": title, "parameter_name": parameter, "values": staticmethod(values)}
    return type("Filter", (ChoiceFilter,), {**members, "condition": staticmethod(condition or equal)})


def actor_filter(newest: Sequence[str] = ()) -> type[ChoiceFilter]:
    """Return a filter by who is behind it, by type and id: labels change.

    Args:
        newest: the fields by which an index tells an actor's newest label.
    """

    def actors(model: type[Model]) -> list[tuple[str, str]]:
        found = distinct(model, "actor_type", "actor_id", also=["actor_label"], newest=newest)
        return [(f"{kind}:{key}", f"{label or key} ({kind})") for kind, key, label in found]

    return choice_filter("actor", "actor", actors, _behind)


def _behind(actor: str) -> Q | None:
    kind, _, key = actor.partition(":")
    fits = kind in Actor.TYPES and 0 < len(key) <= ID_LENGTH
    return Q(actor_type=kind, actor_id=key) if fits else None


def subject_types(model: type[Model]) -> list[str]:
    """Return the types that subjects have, by name: of installed apps, and found in the table."""
    found = {kind for (kind,) in distinct(model, "subject_type")}
    return sorted((found | set(registry.subject_models())) - {""})


SUBJECT_TYPE = choice_filter(
    "subject type", "subject_type", lambda model: [(kind, kind) for kind in subject_types(model)]
)


class _RangeForm(RangeDateTimeForm):
    """The two times, and the zone in which they were typed."""

    def __init__(self, name: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(name, *args, **kwargs)
        self.fields[f"{name}_zone"] = forms.CharField(required=False, widget=forms.HiddenInput)


class MomentFilter(RangeDateTimeFilter):
    """Between two times in a zone, the user's when the URL names none; a day alone is all of it.

    A time that the clocks show twice, or never, is taken so that the range is the longer one.
    """

    form_class = _RangeForm

    def __init__(
        self, field: Any, request: HttpRequest, params: dict[str, Any], *args: Any, **kwargs: Any
    ) -> None:
        super().__init__(field, request, params, *args, **kwargs)
        own = timezone.current_name()
        self._zone_name = params.pop(f"{self.parameter_name}_zone", [""])[-1] or own
        self.title = "time, from and to" + (f", in {self._zone_name}" if self._zone_name != own else "")
        for bound, time in _BOUNDS.items():
            name = f"{self.parameter_name}_{bound}"
            if self.used_parameters.get(f"{name}_0") and not self.used_parameters.get(f"{name}_1"):
                self.used_parameters[f"{name}_1"] = time

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return those of that time; none when a bound is no time, or the zone none."""
        zone = timezone.lookup(self._zone_name)
        since, until = (self._readings(bound, zone) for bound in _BOUNDS)
        if since is None or until is None:
            return queryset.none()
        if since:
            # Compared by their offsets: in one zone, Python compares what the clocks show.
            earliest = max(since, key=_offset)
            queryset = queryset.filter(**{f"{self.parameter_name}__gte": earliest})
        if until:
            # The form knows no fractions: a second is meant with all of them.
            latest = min(until, key=_offset).replace(microsecond=999_999)
            queryset = queryset.filter(**{f"{self.parameter_name}__lte": latest})
        return queryset

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        """Return the form, which carries the zone of its times."""
        for choice in super().choices(changelist):
            choice["form"].data[f"{self.parameter_name}_zone"] = self._zone_name
            yield choice

    def _readings(self, bound: str, zone: ZoneInfo | None) -> list[datetime] | None:
        """Return what a bound may mean: nothing where none was given, None for what is no time."""
        parts = [self.used_parameters.get(f"{self.parameter_name}_{bound}_{part}") for part in (0, 1)]
        if not any(parts):
            return []
        naive = parse_datetime_str(" ".join(part or "" for part in parts))
        if naive is None or zone is None:
            return None
        return [naive.replace(tzinfo=zone, fold=fold) for fold in (0, 1)]


def _offset(moment: datetime) -> timedelta:
    return moment.utcoffset() or timedelta()


class SearchedChangeList(BigChangeList):
    """Finds the rows of a page, and with one query per type the subjects that they are about."""

    def get_results(self, request: HttpRequest) -> None:
        """Find the rows of the page."""
        super().get_results(request)
        records = labels.records(request.user, [row.subject for row in self.result_list])
        for row in self.result_list:
            row.subject_link = labels.subject_link(row.subject, records)


class SearchedAdmin(DetailModelAdmin):
    """A list that is narrowed by its filters and its search, and by no condition that could cost a scan."""

    list_filter_submit = True
    # Only makes the box appear: `get_search_results` searches.
    search_fields = ("id",)
    search_key: str
    """The field whose beginning a search finds."""
    search_ids: Sequence[str]
    """The fields that are equal to what a search finds."""
    newest_first: Sequence[str] = ()
    """The order in which a search looks into personal values, of the first `COUNTED` rows; empty: never."""
    about = column("subject", lambda row: labels.cell(row.subject_link))

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Return whether it is a filter's parameter."""
        allowed = set()
        for one in self.list_filter:
            if isinstance(one, tuple):
                allowed |= {f"{one[0]}_{end}" for end in _ENDS}
            else:
                allowed.add(one.parameter_name)
        return lookup in allowed

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Return the rows that a person may mean, without duplicates; each way to find them has an index.

        Args:
            search_term: an id, the beginning of a key, one of `search_ids`, a subject's id, `type:id`, or a
                part of a recent personal text. Case does not matter in ids and texts.
        """
        # Django blanks a term with a NUL in it, and would find everything.
        term = (search_term or request.GET.get(SEARCH_VAR, "")).strip()
        if not term:
            return queryset, False
        if len(term) > KEY_LENGTH or not is_storable(term):
            return queryset.none(), False
        found = Q(**{f"{self.search_key}__startswith": term})
        types = subject_types(queryset.model)
        for text in {term, term.lower()}:
            # The index on subjects begins with their type.
            found |= Q(subject_type__in=types, subject_id=text)
            for field in self.search_ids:
                found |= Q(**{field: text})
            if match := _SUBJECT.fullmatch(text):
                found |= Q(subject_type=match["type"], subject_id=match["id"])
        if pk := parse_uuid(term):
            found |= Q(pk=pk)
        if texts := self._with_personal_text(queryset, term):
            found |= Q(pk__in=texts)
        return queryset.filter(found), False

    def _with_personal_text(self, queryset: QuerySet[Any], term: str) -> list[Any]:
        """Return the newest rows with a personal text that has the term in it; no index has all texts."""
        if not self.newest_first:
            return []
        recent = queryset.order_by(*self.newest_first).values("pk")[:COUNTED]
        with by_index():
            rows = queryset.model._default_manager.filter(pk__in=recent).filter(_has_personal_text(term))
            return list(rows.values_list("pk", flat=True))


def _has_personal_text(part: str) -> Func:
    """Return the condition that some personal value of a row has a text with `part` in it.

    Case does not matter; salts and keys are not looked at.
    """
    path = f'$.*[1].** ? (@ like_regex {json.dumps(part)} flag "iq")'
    template = "jsonb_path_exists(%(expressions)s::jsonpath)"
    return Func(F("personal"), Value(path), template=template, output_field=BooleanField())
