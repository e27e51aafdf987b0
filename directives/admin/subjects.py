"""The base of admin pages of records that directives can be about: read, and changed by directive only."""

from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import messages
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse

from directives import batches, permissions, registry
from directives.admin import access, requesting
from directives.registry import AnyHandler
from fleetprompt.model_admin import ReadOnlyModelAdmin

_ACTION = "request:"
"""Before the name of a directive in the name of a list action."""


class SubjectAdmin(ReadOnlyModelAdmin):
    """Shows a subject, offers the directives that apply to it, and tells its history."""

    def handlers(self, request: HttpRequest) -> list[AnyHandler]:
        """Return the directive types about such records that the user may request."""
        return [
            handler
            for handler in registry.about(self.model.SUBJECT_TYPE)
            if permissions.allows(request.user, "request", handler.name)
        ]

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Return an action for each directive that the user may request."""
        actions = super().get_actions(request)
        for handler in self.handlers(request):
            name = f"{_ACTION}{handler.name}"
            actions[name] = (_list_action(handler.name), name, f"{handler.label} …")
        return actions

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list; refuse an action that was not offered."""
        asked = request.POST.get("action", "")
        if asked.startswith(_ACTION):
            name = asked.removeprefix(_ACTION)
            if registry.find(name) is None:
                raise Http404(f"There is no directive {name}")
            access.require(request, "request", name)
        response: HttpResponse = super().changelist_view(request, extra_context)
        return response

    def request_buttons(self, request: HttpRequest, record: Model) -> list[dict[str, str]]:
        """Return links to request the directives that would change something about the record."""
        state = getattr(record, "status", None)
        return [
            {
                "label": handler.label,
                "url": requesting.request_url(handler.name, [str(record.pk)]),
            }
            for handler in self.handlers(request)
            if not handler.becomes or handler.becomes != state
        ]


def _list_action(name: str) -> Callable[..., HttpResponse | None]:
    return partial(_confirm, name=name)


def _confirm(
    model_admin: SubjectAdmin, request: HttpRequest, queryset: QuerySet[Any], *, name: str
) -> HttpResponse | None:
    ids = [str(pk) for pk in queryset.values_list("pk", flat=True)[: batches.LARGEST + 1]]
    if len(ids) > batches.LARGEST:
        text = f"Expected at most {batches.LARGEST:,} at once. Narrow the list by filters or a search."
        messages.error(request, text)
        return None
    return requesting.confirm_selection(request, name, ids)
