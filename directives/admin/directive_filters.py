"""The filters of the list of directives, besides those that it shares with signals."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.db.models import Q
from django.db.models.functions import Now
from django.http import HttpRequest

from directives import registry
from directives.admin.filters import ActorFilter, ChoiceFilter, MomentFilter, SubjectTypeFilter
from directives.display import labels
from directives.models import DUE, Directive, in_state
from fleetprompt.postgres.queries import distinct


class StatusFilter(ChoiceFilter):
    """By status; those that are not due yet are apart from the other requested ones."""

    title, parameter_name = "status", "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """Return the statuses, in the order in which directives go through them."""
        return [(status, look.word) for status, look in labels.STATUSES.items()]

    def condition(self, value: str) -> Q | None:
        """Return which directives have the status."""
        if value not in labels.STATUSES:
            return None
        return in_state(DUE if value == Directive.Status.REQUESTED else value)


class NameFilter(ChoiceFilter):
    """By name: those that have a handler, and those of former times that only the table knows."""

    title, parameter_name = "directive", "name"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """Return the names, those with a handler by their labels."""
        known = {handler.name for handler in registry.handlers()}
        names = known.union(name for (name,) in distinct(Directive, "name"))
        return sorted(
            ((name, labels.label(name)) for name in names), key=lambda choice: choice[1].casefold()
        )


class RequesterFilter(ActorFilter):
    """By who asked, under the newest label."""

    newest = ("created_at", "id")


class RecentFilter(ChoiceFilter):
    """By how long ago it was requested."""

    title, parameter_name = "time", "within"
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


FILTERS: list[Any] = [
    StatusFilter,
    NameFilter,
    RequesterFilter,
    SubjectTypeFilter,
    RecentFilter,
    ("created_at", MomentFilter),
]
