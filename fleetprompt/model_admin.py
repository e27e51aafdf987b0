"""What the apps' admin classes share: reading without writing, and counting without scanning."""

from typing import Any

from django.contrib.admin.options import ModelAdmin as DjangoModelAdmin
from django.core.paginator import Paginator
from django.db.models import Model
from django.http import HttpRequest
from django.utils.functional import cached_property
from unfold.admin import ModelAdmin

from fleetprompt.counts import COUNTED


class CappedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts at most `COUNTED` rows, in the list's order, so that an index is enough.

    Older rows are reached by filters, not by page numbers: a page behind that many rows would read
    them all.
    """

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


class ReadOnlyModelAdmin(ModelAdmin):
    """Shows records to those who may view them; nobody adds, edits or deletes them here."""

    icon = "data_object"
    """The symbol in the side bar, a name of Material Symbols."""
    paginator = CappedPaginator
    show_full_result_count = False
    list_per_page = 50
    list_max_show_all = 0

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Return False."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Return False."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Return False."""
        return False

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Return no actions but those of the class itself; deleting is none of them."""
        actions = DjangoModelAdmin.get_actions(self, request)
        actions.pop("delete_selected", None)
        return actions
