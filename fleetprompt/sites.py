"""Admin sites: a tenant's, on the tenant's hosts, and the operators', on theirs.

Each is in the URLs of its own kind of host only, and denies access when the other kind of schema is
active. The apps' `admin` modules register models.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, NoReturn

from csp.decorators import csp_update
from django.contrib.admin.options import TO_FIELD_VAR
from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.decorators import method_decorator
from unfold.sites import UnfoldAdminSite

from fleetprompt.tenants.context import active_tenant, is_public
from fleetprompt.web import content_security

IndexContext = Callable[[HttpRequest, dict[str, Any]], dict[str, Any]]

_with_scripts = csp_update(content_security.ADMIN)


def _with_field(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Refuse an empty `_to_field`, for which Django's views would raise an error."""

    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.POST.get(TO_FIELD_VAR, request.GET.get(TO_FIELD_VAR)) == "":
            raise BadRequest(f"{TO_FIELD_VAR}: expected the name of a field")
        return view(request, *args, **kwargs)

    return checked


class _Site(UnfoldAdminSite):
    """Common parts of both sites."""

    index_title = "Overview"
    index_context: IndexContext | None = None

    def __init__(self, settings_name: str, *, is_for_operators: bool) -> None:
        self.settings_name, self.is_for_operators = settings_name, is_for_operators
        super().__init__()

    def set_index(self, template: str, context: IndexContext) -> None:
        """Set the first page, for the app whose figures it shows.

        Args:
            template: its template.
            context: takes the request and the context of every page, and returns the template's context.
        """
        self.index_template, self.index_context = template, context

    def has_permission(self, request: HttpRequest) -> bool:
        """Return whether the user is active staff of the active schema, and the site is for such ones."""
        return is_public() == self.is_for_operators and bool(super().has_permission(request))

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """Return the context of every page, with the community's name."""
        name = "FleetPrompt" if self.is_for_operators else active_tenant().name
        return {**super().each_context(request), "site_title": name, "site_header": name}

    def admin_view(self, view: Any, cacheable: bool = False) -> Callable[..., HttpResponseBase]:
        """Return the view for staff only, with the policy of the admin."""
        return _with_scripts(super().admin_view(_with_field(view), cacheable))

    @method_decorator(_with_scripts)
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show or process the log-in form."""
        answer: HttpResponse = super().login(request, extra_context)
        return answer

    def search(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> NoReturn:
        """Answer 404: the sidebar is short, and lists have their own search."""
        raise Http404


tenant_site = _Site("UNFOLD_TENANT", is_for_operators=False)
"""The site of a community's moderators and auditors."""
operators_site = _Site("UNFOLD_OPERATORS", is_for_operators=True)
"""The site of the operators: all tenants, the queue and the clusters."""


def _active_site() -> _Site:
    return operators_site if is_public() else tenant_site


def index_context(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Return the context of the active site's first page."""
    extend = _active_site().index_context
    return extend(request, context) if extend else context


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the sidebar: what the user may view, a group for each app.

    A model's admin may define an `icon`, and `side_links(request)` that follow its entry.
    """
    site = _active_site()
    overview: dict[str, Any] = {"title": "Overview", "icon": "monitoring", "link": reverse("admin:index")}
    groups = [
        {
            "title": app["name"],
            "items": [item for model in app["models"] for item in _items(site, model, request)],
        }
        for app in site.get_app_list(request)
    ]
    sections = [{"items": [overview]}, *groups]
    items = [item for section in sections for item in section["items"]]
    # One item's address may be the beginning of another's.
    here = max(
        (item["link"] for item in items if request.path.startswith(item["link"])), key=len, default=""
    )
    for item in items:
        item["active"] = item["link"] == here
    return sections


def _items(site: UnfoldAdminSite, entry: dict[str, Any], request: HttpRequest) -> list[dict[str, Any]]:
    model_admin = site.get_model_admin(entry["model"])
    icon = getattr(model_admin, "icon", "data_object")
    side_links: Any = getattr(model_admin, "side_links", lambda request: [])
    own = {"title": entry["name"], "icon": icon, "link": entry["admin_url"]}
    return [own, *side_links(request)]
