"""The pages of signals: read, searched and exported, never written."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import BadRequest
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.views.decorators.http import require_safe

from directives.admin.filters import (
    SUBJECT_TYPE,
    MomentFilter,
    SearchedAdmin,
    SearchedChangeList,
    actor_filter,
    choice_filter,
)
from directives.authority import permissions
from directives.display import labels
from fleetprompt.postgres.queries import distinct
from fleetprompt.sites import tenant_site
from fleetprompt.templatetags.moments import moment
from fleetprompt.tenants.context import active_tenant
from fleetprompt.web.model_admin import column
from signals.exporting import FORMATS, export
from signals.models import Signal

EXPORT = "signals.export_signal"
"""The permission to export."""
MAX_RELATED = 50
"""How many signals of the same correlation a signal's page shows."""


FILTERS: list[Any] = [
    choice_filter("name", "name", lambda _: [(name, name) for (name,) in distinct(Signal, "name")]),
    actor_filter(),
    SUBJECT_TYPE,
    ("recorded_at", MomentFilter),
]


class SignalList(SearchedChangeList):
    """A list of signals, newest first."""

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[str]:
        """Return the only order there is."""
        return list(self.model_admin.newest_first)

    def get_results(self, request: HttpRequest) -> None:
        """Find the signals of the page, their subjects and their directives."""
        super().get_results(request)
        directives = labels.causes(self.result_list)
        for signal in self.result_list:
            signal.cause = directives.get(signal.causation_id)


def _name(signal: Signal) -> SafeString:
    return format_html(
        '<span class="fp-signal"><span class="material-symbols-outlined" aria-hidden="true">{}</span>'
        "{}</span>",
        labels.signal_icon(signal.name),
        signal.name,
    )


@admin.register(Signal, site=tenant_site)
class SignalAdmin(SearchedAdmin):
    """Lists signals, newest first, and exports what the list shows."""

    icon = "sensors"
    list_class = SignalList
    detail_template = "admin/directives/signal.html"
    list_display = ("recorded", "fact", "about", "by", "cause", "says")
    list_display_links = ("recorded", "fact")
    sortable_by = ()
    list_filter = FILTERS
    search_key, search_ids = "dedupe_key", ("correlation_id", "causation_id")
    newest_first = ("-recorded_at", "-id")
    search_help_text = "An id, a key or how it begins, a subject, words of a recent text"

    recorded = column("recorded", lambda signal: moment(signal.recorded_at))
    fact = column("name", _name)
    by = column("actor", lambda signal: labels.cell(str(signal.actor)))
    cause = column("directive", lambda row: labels.directive_link(row.cause) if row.cause else "–")
    says = column("says", lambda signal: labels.cell(Truncator(labels.gist(signal)).chars(100)))

    def get_urls(self) -> list[URLPattern]:
        """Add the export to the pages."""
        view = self.admin_site.admin_view(require_safe(self.export_view))
        return [path("export/<str:ending>/", view, name="signals_signal_export"), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Show the list, with a button for each kind of file to those who may export."""
        links = [
            (
                kind.label,
                f"{reverse('admin:signals_signal_export', args=[ending])}?{request.GET.urlencode()}",
            )
            for ending, kind in FORMATS.items()
            if request.user.has_perm(EXPORT)
        ]
        return super().changelist_view(request, {**(extra_context or {}), "export_links": links})

    def export_view(self, request: HttpRequest, ending: str) -> HttpResponseBase:
        """Send the signals that the list shows for the same query string, oldest first.

        Raises:
            PermissionDenied: the user may not see or not export signals.
            Http404: no such kind of file.
            BadRequest: a parameter that the list does not know.
        """
        if not (self.has_view_permission(request) and request.user.has_perm(EXPORT)):
            permissions.refuse(request.user, "export signals", EXPORT)
        if ending not in FORMATS:
            raise Http404
        try:
            found = self.get_changelist_instance(request).queryset
        except IncorrectLookupParameters as error:
            raise BadRequest(f"the list has no such filter or page: {error}") from error
        tenant, kind = active_tenant().slug, FORMATS[ending]
        name = f"{tenant}-signals-{timezone.now():%Y%m%dT%H%MZ}.{ending}"
        return StreamingHttpResponse(
            export(found, kind, tenant=tenant),
            content_type=kind.content_type,
            headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
        )

    def detail_context(self, request: HttpRequest, record: Signal) -> dict[str, Any]:
        """Return what the signal is about, the directive it belongs to, and the signals of one request."""
        related: list[Signal] = []
        if record.correlation_id:
            same = Signal.objects.filter(correlation_id=record.correlation_id).exclude(pk=record.pk)
            related = list(same.order_by("-recorded_at", "-id")[: MAX_RELATED + 1])
        about = [signal.subject for signal in (record, *related)]
        return {
            "title": record.name,
            "directive": labels.causes([record]).get(record.causation_id),
            "records": labels.records(request.user, about),
            "related": related[:MAX_RELATED],
            "has_more": len(related) > MAX_RELATED,
        }
