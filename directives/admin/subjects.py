"""The base of admin pages of records that directives can be about: read, and changed by directive only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse

from directives import display, history
from directives.admin.history import HistoryAdmin
from signals.types import Subject

LAST = 10
"""How many happenings of its history a subject's page shows."""


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest records that belong to a subject.

    Args:
        title: what they are, such as `Newest posts`.
        rows: each with its status, or None, and what else there is to say of it.
        url: the address of the list of all of them.
    """

    title: str
    rows: Sequence[tuple[Model, display.Look | None, str]]
    url: str


class SubjectAdmin(HistoryAdmin):
    """Shows a subject, offers the directives that apply to it, and tells its history."""

    detail_template = "admin/directives/subject.html"
    status_looks: ClassVar[Mapping[str, display.Look]] = {}
    """How each status of the records is shown."""

    def facts(self, record: Any) -> Sequence[tuple[str, Any]]:
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

    def status_look(self, record: Any) -> display.Look | None:
        """Return how the record's status is shown; None when it has none."""
        return self.status_looks.get(getattr(record, "status", ""))

    def detail_context(self, request: HttpRequest, record: Any) -> dict[str, Any]:
        """Return what the page of a subject shows."""
        look = self.status_look(record)
        context: dict[str, Any] = {
            "look": look,
            "facts": self.facts(record),
            "text": self.content(record),
            "public_url": self.public_url(record),
            "newest": self.newest(request, record),
            "request_buttons": [],
        }
        if not self.may_see_history(request):
            return context
        history_url = reverse(
            f"admin:{self.opts.app_label}_{self.opts.model_name}_history", args=[record.pk]
        )
        context |= {"history_url": history_url, **_change(record)}
        return {**context, **self.history_context(record, limit=LAST)}


def _change(record: Any) -> dict[str, Any]:
    status = getattr(record, "status", None)
    subject = Subject(record.SUBJECT_TYPE, str(record.pk))
    signal = history.latest_change(subject, status) if status else None
    return {
        "change": signal,
        "cause": display.causes([signal]).get(signal.causation_id) if signal else None,
    }
