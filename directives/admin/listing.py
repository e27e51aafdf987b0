"""The list of directives: what was asked, by whom and why, and how it went."""

from collections.abc import Iterable
from datetime import timedelta
from functools import partial
from typing import Any

from django.contrib import admin
from django.db.models import Model, Q
from django.db.models.functions import Now
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path, re_path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from directives import registry
from directives.admin import batch, detail, operating, requesting
from directives.admin.filters import (
    SUBJECT_TYPE,
    MomentFilter,
    SearchedAdmin,
    SearchedChangeList,
    actor_filter,
    choice_filter,
)
from directives.display import labels
from directives.models import DUE, Directive, in_state
from fleetprompt.postgres.queries import distinct
from fleetprompt.sites import tenant_site
from fleetprompt.templatetags.moments import ago, span
from fleetprompt.web import kept_forms
from fleetprompt.web.model_admin import column

REASON_CHARACTERS = 60

_SPANS = {
    "1h": ("Last hour", timedelta(hours=1)),
    "24h": ("Last 24 hours", timedelta(days=1)),
    "7d": ("Last 7 days", timedelta(days=7)),
    "30d": ("Last 30 days", timedelta(days=30)),
}


def in_status(value: str) -> Q | None:
    """Return which directives have a status; those that are not due yet are no requested ones here."""
    if value not in labels.STATUSES:
        return None
    return in_state(DUE if value == Directive.Status.REQUESTED else value)


def _names(model: type[Model]) -> Iterable[tuple[str, str]]:
    """Return the names that have a handler, and those of former times that only the table knows."""
    known = {handler.name for handler in registry.handlers()}
    names = known.union(name for (name,) in distinct(model, "name"))
    return sorted(((name, labels.label(name)) for name in names), key=lambda choice: choice[1].casefold())


def _within(value: str) -> Q | None:
    return Q(created_at__gte=Now() - _SPANS[value][1]) if value in _SPANS else None


FILTERS: list[Any] = [
    choice_filter(
        "status",
        "status",
        lambda _: [(status, look.word) for status, look in labels.STATUSES.items()],
        in_status,
    ),
    choice_filter("directive", "name", _names),
    actor_filter(newest=("created_at", "id")),
    SUBJECT_TYPE,
    choice_filter("time", "within", lambda _: [(key, word) for key, (word, _) in _SPANS.items()], _within),
    ("created_at", MomentFilter),
]


class DirectiveChangeList(SearchedChangeList):
    """A list whose actions take at most as many directives as an operation."""

    at_once = operating.MAX_DIRECTIVES


def _name(directive: Directive) -> SafeString:
    """Return the label, with the name small."""
    return format_html(
        '<span class="fp-two-lines">{}<span class="fp-subtle">{}</span></span>',
        labels.label(directive.name),
        directive.name,
    )


def _requester(directive: Directive) -> SafeString:
    title = f"{directive.actor_type}:{directive.actor_id}"
    return labels.cell(Truncator(str(directive.actor)).chars(40), title)


def _reason(directive: Directive) -> SafeString | str:
    shown = Truncator(" ".join(directive.reason.split())).chars(REASON_CHARACTERS)
    return labels.cell(shown, directive.reason) if directive.reason else "–"


@admin.register(Directive, site=tenant_site)
class DirectiveAdmin(SearchedAdmin):
    """Lists directives and what can be done with them; none is added, edited or deleted here."""

    icon = "gavel"
    list_class = DirectiveChangeList
    list_display = ("state", "what", "about", "requester", "why", "tries", "age", "took")
    list_display_links = ("what",)
    list_filter = FILTERS
    list_fullwidth = True
    detail_template = "admin/directives/detail.html"
    search_key, search_ids = "idempotency_key", ("correlation_id",)
    search_help_text = "Id, key, correlation id or subject"

    def side_links(self, request: HttpRequest) -> list[dict[str, str]]:
        """Return the link to request a directive, for those who may request any."""
        if not requesting.requestable(request.user):
            return []
        url = reverse("admin:directives_directive_request")
        return [{"title": "Request directive", "icon": "add_circle", "link": url}]

    def get_urls(self) -> list[URLPattern]:
        """Add the pages that are no list and no single directive."""
        view, form = self.admin_site.admin_view, partial(kept_forms.keeping, self.admin_site)
        # A correlation id may be any text: with slashes, and in more than one line.
        batch_url = re_path(
            r"^batch/(?P<correlation_id>[\s\S]+)/$", view(batch.show), name="directives_directive_batch"
        )
        pages = [
            ("request/<str:name>/", form(requesting.request_one_type), "request_type"),
            ("request/", view(requesting.choose), "request"),
            ("pick/<str:subject_type>/", view(requesting.pick), "pick"),
            ("<uuid:pk>/undo/", view(operating.undo), "undo"),
            ("<uuid:pk>/live/", view(detail.live), "live"),
            ("operate/<str:slug>/", form(operating.question), "operate"),
            ("operate/<str:slug>/<uuid:token>/", view(operating.answer), "operated"),
        ]
        own = [path(route, page, name=f"directives_directive_{name}") for route, page, name in pages]
        return [batch_url, *own, *super().get_urls()]

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Return the operations that the user may do on at least one type of directive."""
        return {**super().get_actions(request), **operating.actions(request.user)}

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Answer with the list, or with an operation's confirmation page.

        Raises:
            PermissionDenied: an operation was posted that the user may do on nothing.
        """
        operating.refuse_unoffered(request)
        extra = {"title": "Directives", "is_narrowed": bool(request.GET.keys() - {"o", "p", "e"})}
        response: HttpResponse = super().changelist_view(request, {**extra, **(extra_context or {})})
        return response

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Directive:
        """Return the directive.

        Raises:
            Http404: the tenant has none with that id.
        """
        found: Directive | None = super().get_object(request, object_id, from_field)
        if found is None:
            raise Http404(f"there is no directive {object_id!r}")
        return found

    def detail_context(self, request: HttpRequest, record: Directive) -> dict[str, Any]:
        """Return what a directive's page shows."""
        return detail.context(request, record)

    state = column("status", labels.status_badge)
    what = column("directive", _name)
    requester = column("actor", _requester)
    why = column("reason", _reason)
    tries = column("attempt", lambda directive: f"{directive.attempt} of {directive.max_attempts}")
    age = column("age", lambda directive: ago(directive.created_at), "-created_at")
    took = column("duration", lambda directive: span(labels.duration(directive)))
