"""The list of directives: what was asked, by whom and why, and how it went."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import SEARCH_VAR
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from directives.admin import detail, filters, operating, requesting, urls
from directives.admin.directive_filters import FILTERS
from directives.display import labels
from directives.models import Directive
from fleetprompt.sites import tenant_site
from fleetprompt.templatetags.moments import ago, span
from fleetprompt.web.model_admin import BigChangeList, ReadOnlyModelAdmin

REASON_SHOWN = 60


class DirectiveChangeList(BigChangeList):
    """Finds the rows of a page, and with one query per type the subjects that they are about."""

    at_once = operating.LIMIT

    def get_results(self, request: HttpRequest) -> None:
        """Find the rows of the page."""
        super().get_results(request)
        about = [row.subject for row in self.result_list if row.subject]
        self.subjects = labels.records(request.user, about)
        for row in self.result_list:
            row.subject_link = labels.subject_link(row.subject, self.subjects)


@admin.register(Directive, site=tenant_site)
class DirectiveAdmin(ReadOnlyModelAdmin):
    """Lists directives and what can be done with them; none is added, edited or deleted here."""

    icon = "gavel"
    list_display = ("state", "what", "about", "requester", "why", "tries", "age", "took")
    list_display_links = ("what",)
    list_filter = FILTERS
    list_filter_submit = True
    list_fullwidth = True
    # Only makes the box appear: `get_search_results` searches.
    search_fields = ("id",)
    search_help_text = "Id, key, correlation id or subject"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[BigChangeList]:
        """Return what finds the rows of a page."""
        return DirectiveChangeList

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        """Return whether it is a filter's parameter; by other columns everything would be read."""
        return lookup in filters.parameters(FILTERS)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Directive], search_term: str
    ) -> tuple[QuerySet[Directive], bool]:
        """Return what the search finds, without duplicates."""
        # Django blanks a term with a NUL in it, and would find everything.
        term = request.GET.get(SEARCH_VAR, search_term)
        return filters.search(queryset, term, key="idempotency_key", ids=["correlation_id"]), False

    def side_links(self, request: HttpRequest) -> list[dict[str, str]]:
        """Return the link to request a directive, for those who may request any."""
        if not requesting.may_request_any(request.user):
            return []
        url = reverse("admin:directives_directive_request")
        return [{"title": "Request directive", "icon": "add_circle", "link": url}]

    def get_urls(self) -> list[URLPattern]:
        """Return the addresses of the pages of directives."""
        return [
            *urls.patterns(self.admin_site),
            *operating.urls(self),
            *detail.urls(self),
            *super().get_urls(),
        ]

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

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Answer with a directive's page."""
        return detail.page(self, request, object_id)

    @admin.display(description="status")
    def state(self, directive: Directive) -> SafeString:
        """Show the status."""
        return labels.badge(labels.look(directive))

    @admin.display(description="directive")
    def what(self, directive: Directive) -> SafeString:
        """Show the label, with the name small."""
        return format_html(
            '<span class="fp-two-lines">{}<span class="fp-subtle">{}</span></span>',
            labels.label(directive.name),
            directive.name,
        )

    @admin.display(description="subject")
    def about(self, directive: Directive) -> str:
        """Show what it is about."""
        return format_html('<span class="fp-cell">{}</span>', getattr(directive, "subject_link", "–"))

    @admin.display(description="actor")
    def requester(self, directive: Directive) -> SafeString:
        """Show who asked, and on hover what kind of actor it is."""
        title = f"{directive.actor_type}:{directive.actor_id}"
        shown = Truncator(str(directive.actor)).chars(40)
        return format_html('<span class="fp-cell" title="{}">{}</span>', title, shown)

    @admin.display(description="reason")
    def why(self, directive: Directive) -> SafeString | str:
        """Show how the reason begins, and all of it on hover."""
        if not directive.reason:
            return "–"
        shown = Truncator(" ".join(directive.reason.split())).chars(REASON_SHOWN)
        return format_html('<span class="fp-cell" title="{}">{}</span>', directive.reason, shown)

    @admin.display(description="attempt")
    def tries(self, directive: Directive) -> str:
        """Show the attempt and how many there may be."""
        return f"{directive.attempt} of {directive.max_attempts}"

    @admin.display(description="age", ordering="-created_at")
    def age(self, directive: Directive) -> str:
        """Show how long ago it was requested."""
        return ago(directive.created_at)

    @admin.display(description="duration")
    def took(self, directive: Directive) -> str:
        """Show how long its last attempt took."""
        return span(labels.duration(directive))
