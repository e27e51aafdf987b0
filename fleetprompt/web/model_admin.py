"""Base classes of the apps' admin: read-only pages, and counts without sequential scans."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.contrib.admin import ShowFacets, display
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.functional import cached_property
from unfold.admin import ModelAdmin
from unfold.views import ChangeList

from fleetprompt.postgres.queries import by_index
from fleetprompt.web.compat import redirect_missing
from fleetprompt.web.limits import COUNTED


def column(description: str, show: Callable[[Any], Any], ordering: str | None = None) -> Any:
    """Return a column of a list, or a read-only field, that `show` computes from a record."""

    @display(description=description, ordering=ordering)
    def method(self: Any, record: Any) -> Any:
        return show(record)

    return method


class CappedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts at most `COUNTED` rows, in the list's order, so that an index is enough.

    Older rows are reached by filters, not by page numbers: a page behind that many rows would read
    them all.
    """

    template_name = "fleetprompt/pagination.html"

    @cached_property
    def count(self) -> int:
        """The number of rows, or `COUNTED` when there are more."""
        return min(self.found, COUNTED)

    @cached_property
    def found(self) -> int:
        """The number of rows, counted up to one more than `COUNTED`."""
        rows: Any = self.object_list
        return int(rows.values("pk")[: COUNTED + 1].count())

    @property
    def is_capped(self) -> bool:
        """Whether there are more rows than `count` says."""
        return self.found > COUNTED

    @property
    def shown_count(self) -> str:
        """The number of rows for people: `1,234`, or `10,000+`."""
        return f"{self.count:,}{'+' if self.is_capped else ''}"


class CappedChangeList(ChangeList):
    """A list that shows its number of rows in its foot only, such as "10,000+"."""

    at_once = COUNTED
    """The most rows of one action."""

    def get_results(self, request: HttpRequest) -> None:
        """Find the rows of the page; `can_select_all` tells whether an action can take all matches."""
        super().get_results(request)
        is_counted = not getattr(self.paginator, "is_capped", False)
        self.can_select_all = is_counted and self.result_count <= self.at_once
        # Else the page's head calls `result_count` the number of results.
        self.full_result_count = self.result_count


class BigChangeList(CappedChangeList):
    """A list of a table that is too big for sequential scans."""

    result_list: Any

    def get_results(self, request: HttpRequest) -> None:
        """Find the rows of the page, in memory afterwards."""
        with by_index():
            super().get_results(request)
            # The ids of a page are read from an index, also of a late page.
            page = list(self.result_list.values_list("pk", flat=True))
            rows: dict[Any, Any] = self.model._default_manager.in_bulk(page)
        self.result_list = [rows[pk] for pk in page if pk in rows]


class ReadOnlyModelAdmin(ModelAdmin):
    """Shows records to users with the permission to view them; they are not edited here."""

    icon = "data_object"
    """The symbol in the side bar, a name of Material Symbols."""
    list_class: type[ChangeList] = CappedChangeList
    paginator = CappedPaginator
    show_full_result_count = False
    # Counts for each choice of each filter would read the whole table.
    show_facets = ShowFacets.NEVER
    list_per_page = 50
    list_max_show_all = 0

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return how the list finds its rows."""
        return self.list_class

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Return False."""
        return False

    has_add_permission = has_delete_permission = has_change_permission

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Answer an action; malformed ids get a message."""
        try:
            response: HttpResponse | None = super().response_action(request, queryset)
        except PermissionDenied:
            # A refused permission may be a ValidationError as well.
            raise
        except (ValidationError, ValueError):
            self.message_user(request, "Select rows by their ids.", messages.ERROR)
            return None
        return response


class DetailModelAdmin(ReadOnlyModelAdmin):
    """Shows one record on a page of its own instead of a read-only form."""

    detail_template = ""

    def detail_context(self, request: HttpRequest, record: Any) -> dict[str, Any]:
        """Return the context of a record's page besides `record`."""
        return {}

    def change_view(self, request: HttpRequest, object_id: str, *_: Any, **__: Any) -> HttpResponse:
        """Show a record's page."""
        return self.record_view(request, object_id, self.detail_template, self.detail_context)

    def record_view(
        self,
        request: HttpRequest,
        object_id: str,
        template: str,
        context: Callable[[HttpRequest, Any], dict[str, Any]],
    ) -> HttpResponse:
        """Show a page about one record, or go to the first page when there is none with that id.

        Args:
            context: returns the template's context besides `record`.

        Raises:
            PermissionDenied: the user may not view the record, or the method is not GET or HEAD.
        """
        record = self.get_object(request, unquote(object_id))
        if not self.has_view_permission(request, record) or request.method not in ("GET", "HEAD"):
            raise PermissionDenied
        if record is None:
            return redirect_missing(self, request, object_id)
        common = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "object": record,
            "record": record,
            "title": str(record),
            "preserved_filters": self.get_preserved_filters(request),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, template, {**common, **context(request, record)})
