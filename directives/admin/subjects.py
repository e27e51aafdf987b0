"""The base of admin pages of records that directives can be about: read, and changed by directive only."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from django.contrib.admin.utils import quote
from django.core.exceptions import BadRequest, PermissionDenied
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse

from directives import expiry, registry
from directives.admin import operating, requesting, restricted
from directives.authority import permissions
from directives.display import history, labels
from directives.display.history import PAGE_SIZE, Parts, Place
from directives.registry import AnyHandler
from fleetprompt.errors import Refused
from fleetprompt.web.model_admin import DetailModelAdmin

MAX_LATEST = 10
"""How many happenings of its history a subject's page shows."""
MAX_ENDS = 10
"""How many ends of what is for a time it shows, besides those of restrictions."""

PERMISSIONS = ("directives.view_directive", "signals.view_signal")
"""What a history shows, besides the subject itself."""

_ACTION = "request:"
"""Before the name of a directive in the name of a list action."""


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest records that belong to a subject.

    Args:
        title: what they are, such as `Newest posts`.
        rows: each with its status, or None, and what else there is to say of it.
        url: the address of the list of all of them.
    """

    title: str
    rows: Sequence[tuple[Model, labels.Look | None, str]]
    url: str


class SubjectAdmin(DetailModelAdmin):
    """Shows a subject, offers the directives that apply to it, and tells its history."""

    detail_template = "admin/directives/subject.html"
    history_template = "admin/directives/history.html"
    status_looks: ClassVar[Mapping[str, labels.Look]] = {}
    """How each status of the records is shown."""

    def handlers(self, request: HttpRequest) -> list[AnyHandler]:
        """Return the directive types about such records that the user may request."""
        about = registry.about(self.model.SUBJECT_TYPE)
        return [one for one in about if permissions.allows(request.user, "request", one.name)]

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        """Return the columns, without the records that the user may not view."""
        return self._seen(request, super().get_list_display(request))

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        """Return the filters, without those by records that the user may not view."""
        return self._seen(request, super().get_list_filter(request))

    def _seen(self, request: HttpRequest, names: Iterable[Any]) -> list[Any]:
        related = {field.name: field.related_model for field in self.opts.concrete_fields}
        return [
            name
            for name in names
            if not (model := related.get(name)) or permissions.may_view(request.user, model)
        ]

    def link(self, request: HttpRequest, record: Any) -> str:
        """Return a link to another subject's page; its type and id to those who may not view it."""
        may_view = permissions.may_view(request.user, type(record))
        return labels.record_link(record) if may_view else f"{record.SUBJECT_TYPE}:{record.pk}"

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Return an action for each directive that the user may request."""
        actions: dict[str, Any] = super().get_actions(request)
        for handler in self.handlers(request):
            name = f"{_ACTION}{handler.name}"
            actions[name] = (
                partial(requesting.confirm_selection, name=handler.name),
                name,
                f"{handler.label} …",
            )
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
            permissions.require(request.user, "request", name)
        response: HttpResponse = super().changelist_view(request, extra_context)
        return response

    def request_buttons(self, request: HttpRequest, record: Model) -> list[dict[str, str]]:
        """Return links to request the directives that would change something about the record."""
        state = getattr(record, "status", None)
        return [
            {
                "label": handler.label,
                "icon": "gavel",
                "url": requesting.request_url(handler.name, [str(record.pk)], back=request.get_full_path()),
            }
            for handler in self.handlers(request)
            if not handler.becomes or handler.becomes != state
        ]

    def facts(self, request: HttpRequest, record: Any) -> Sequence[tuple[str, Any]]:
        """Return what there is to know about a record: names and values."""
        return ()

    def content(self, record: Any) -> str:
        """Return what the record says, if it says anything."""
        return ""

    def public_url(self, record: Any) -> str | None:
        """Return the address where the public reads it, if there is one."""
        return None

    def newest(self, request: HttpRequest, record: Any) -> Newest | None:
        """Return what belongs to the record, as far as the user may see it."""
        return None

    def status_look(self, record: Any) -> labels.Look | None:
        """Return how the record's status is shown; None when it has none."""
        return self.status_looks.get(getattr(record, "status", ""))

    def detail_context(self, request: HttpRequest, record: Any) -> dict[str, Any]:
        """Return what the page of a subject shows."""
        context: dict[str, Any] = {
            "look": self.status_look(record),
            "facts": self.facts(request, record),
            "text": self.content(record),
            "public_url": self.public_url(record),
            "newest": self.newest(request, record),
            "request_buttons": self.request_buttons(request, record),
        }
        if not request.user.has_perms(PERMISSIONS):
            return context
        history_url = reverse(
            f"admin:{self.opts.app_label}_{self.opts.model_name}_history", args=[quote(record.pk)]
        )
        latest = self.history_context(request, record, limit=MAX_LATEST)
        found = restricted.context(request.user, record, self.status_looks, request.get_full_path())
        back = request.get_full_path()
        about = {"subject_type": record.SUBJECT_TYPE, "subject_id": str(record.pk)}
        pending = expiry.pending_ends().filter(**about)[:MAX_ENDS]
        ended = labels.causes(pending)
        ends = [
            (end, ended.get(end.causation_id), operating.buttons(request.user, end, back))
            for end in pending
        ]
        return {**context, "history_url": history_url, **_change(record), **found, **latest, "ends": ends}

    def history_parts(self, record: Any) -> Parts:
        """Return the records whose history belongs to this one's: their subject types, a query for each."""
        return ()

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show a page of the history, newest first; `before` says where it begins.

        Raises:
            PermissionDenied: the user may not view the record, directives or signals.
            BadRequest: `before` is no place in a history.
        """
        if not request.user.has_perms(PERMISSIONS):
            raise PermissionDenied
        return self.record_view(request, object_id, self.history_template, self._history_page)

    def history_context(
        self, request: HttpRequest, record: Any, before: Place | None = None, limit: int = PAGE_SIZE
    ) -> dict[str, Any]:
        """Return what the template of a history needs: the page, and the records it tells of."""
        subject = registry.subject_of(record)
        page = history.page(subject, self.history_parts(record), before, limit)
        about = {happening.subject for happening in page.happenings} - {subject}
        records = {**labels.records(request.user, about), subject: record}
        return {"page": page, "subject": subject, "records": records}

    def _history_page(self, request: HttpRequest, record: Any) -> dict[str, Any]:
        text = request.GET.get("before")
        try:
            before = Place.parse(text) if text else None
        except Refused as error:
            raise BadRequest(str(error)) from error
        return {**self.history_context(request, record, before), "is_newest": before is None}


def _change(record: Any) -> dict[str, Any]:
    status = getattr(record, "status", None)
    signal = history.latest_change(registry.subject_of(record), status) if status else None
    return {
        "change": signal,
        "cause": labels.causes([signal]).get(signal.causation_id) if signal else None,
    }
