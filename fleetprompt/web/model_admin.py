"""What the apps' admin classes share: reading without writing, and counting without scanning."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.contrib.admin import ShowFacets
from django.contrib.admin.options import ModelAdmin as DjangoModelAdmin
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
    """A list that says how many rows it has in one place: its foot, where it says "10,000+" too."""

    at_once = COUNTED
    """How many rows an action of the list takes at most."""

    def get_results(self, request: HttpRequest) -> None:
        """Find the rows of the page; `can_select_all` is whether an action takes all that match."""
        super().get_results(request)
        is_counted = not getattr(self.paginator, "is_capped", False)
        self.can_select_all = is_counted and self.result_count <= self.at_once
        # Else the page's head calls `result_count` the number of results.
        self.full_result_count = self.result_count


class BigChangeList(CappedChangeList):
    """A list of a table that is too big to be read from end to end, whatever the planner thinks."""

    result_list: Any

    def get_results(self, request: HttpRequest) -> None:
        """Find the rows of the page, in memory afterwards."""
        with by_index():
            super().get_results(request)
            # An index alone says which rows they are, however far down the page is.
            page = list(self.result_list.values_list("pk", flat=True))
            rows: dict[Any, Any] = self.model._default_manager.in_bulk(page)
        self.result_list = [rows[pk] for pk in page if pk in rows]


class ReadOnlyModelAdmin(ModelAdmin):
    """Shows records to those who may view them; nobody adds, edits or deletes them here."""

    icon = "data_object"
    """The symbol in the side bar, a name of Material Symbols."""
    paginator = CappedPaginator
    show_full_result_count = False
    # Counting what each choice of each filter would find reads everything.
    show_facets = ShowFacets.NEVER
    list_per_page = 50
    list_max_show_all = 0

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return how the list finds its rows."""
        return CappedChangeList

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Return False."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Return False."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Return False."""
        return False

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Answer an action; ids that are none are told, not crashed on."""
        try:
            response: HttpResponse | None = super().response_action(request, queryset)
        except PermissionDenied:
            raise
        except (ValidationError, ValueError):
            self.message_user(request, "Select rows by their ids.", messages.ERROR)
            response = None
        return response

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Return no actions but those of the class itself; deleting is none of them."""
        actions = DjangoModelAdmin.get_actions(self, request)
        actions.pop("delete_selected", None)
        return actions


class DetailModelAdmin(ReadOnlyModelAdmin):
    """Shows one record on a page of its own making instead of a form that nobody may fill in."""

    detail_template = ""

    def detail_context(self, request: HttpRequest, record: Any) -> dict[str, Any]:
        """Return what the page of a record shows besides `record` itself."""
        return {}

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
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
            context: gives what the template needs besides `record`.

        Raises:
            PermissionDenied: the user may not view the record, or wants to post something.
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
