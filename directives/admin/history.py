"""The history of a subject: its directives and signals, and those of its parts, in one timeline."""

from collections.abc import Sequence
from typing import Any

from django.core.exceptions import BadRequest, PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse

from directives import registry
from directives.display import labels
from directives.display.history import PAGE, Page, Place, Scope
from fleetprompt.errors import Refused
from fleetprompt.web.model_admin import DetailModelAdmin
from signals.types import Subject

PERMISSIONS = ("directives.view_directive", "signals.view_signal")
"""What a history shows, besides the subject itself."""


class HistoryAdmin(DetailModelAdmin):
    """Tells the history of the records that it shows."""

    history_template = "admin/directives/history.html"

    def history_parts(self, record: Any) -> Sequence[tuple[str, QuerySet[Any]]]:
        """Return the records whose history belongs to this one's: their subject types, a query for each."""
        return ()

    def may_see_history(self, request: HttpRequest) -> bool:
        """Return whether the user may see the directives and signals that a history is made of."""
        return bool(request.user.has_perms(PERMISSIONS))

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show a page of the history, newest first; `before` says where it begins.

        Raises:
            PermissionDenied: the user may not view the record, directives or signals.
            BadRequest: `before` is no place in a history.
        """
        if not self.may_see_history(request):
            raise PermissionDenied
        return self.record_view(request, object_id, self.history_template, self._history_page)

    def history_context(
        self, request: HttpRequest, record: Any, before: Place | None = None, limit: int = PAGE
    ) -> dict[str, Any]:
        """Return what the template of a history needs: the page, and the records it tells of."""
        subject = registry.subject_of(record)
        page = Scope(subject, self.history_parts(record)).page(before, limit)
        return {"page": page, "subject": subject, "records": _records(request, page, subject, record)}

    def _history_page(self, request: HttpRequest, record: Any) -> dict[str, Any]:
        text = request.GET.get("before")
        try:
            before = Place.parse(text) if text else None
        except Refused as error:
            raise BadRequest(str(error)) from error
        return {**self.history_context(request, record, before), "is_newest": before is None}


def _records(request: HttpRequest, page: Page, subject: Subject, record: Model) -> labels.Records:
    about = {happening.subject for happening in page.happenings if happening.subject} - {subject}
    return {**labels.records(request.user, about), subject: record}
