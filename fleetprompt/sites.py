"""The two admin sites: a tenant's, on the tenant's hosts, and the operators', on the public ones.

Each is in the URLs of its own kind of host only, and answers nobody when the other kind of schema is
active. Which models they show is said in the apps' `admin` modules.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, NoReturn

from csp.decorators import csp_update
from django.contrib.admin.options import TO_FIELD_VAR
from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.templatetags.static import static
from django.urls import reverse
from django.utils.decorators import method_decorator
from unfold.sites import UnfoldAdminSite

from fleetprompt.tenants.context import active_tenant, is_public
from fleetprompt.web import content_security

_with_scripts = csp_update(content_security.ADMIN)


def _with_field(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Refuse an empty `_to_field`: Django's views would look for a field of that name, and break."""

    @wraps(view)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.POST.get(TO_FIELD_VAR, request.GET.get(TO_FIELD_VAR)) == "":
            raise BadRequest(f"{TO_FIELD_VAR}: expected the name of a field")
        return view(request, *args, **kwargs)

    return checked


class _Site(UnfoldAdminSite):
    """What both sites have in common."""

    def admin_view(self, view: Any, cacheable: bool = False) -> Callable[..., HttpResponseBase]:
        """Return the view for staff only, with the policy of the admin."""
        return _with_scripts(super().admin_view(_with_field(view), cacheable))

    @method_decorator(_with_scripts)
    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Log somebody in."""
        answer: HttpResponse = super().login(request, extra_context)
        return answer

    def search(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> NoReturn:
        """Answer 404: the side bar is short, and lists search for themselves."""
        raise Http404


class TenantSite(_Site):
    """Where a community's moderators and auditors work."""

    settings_name = "UNFOLD_TENANT"
    index_title = "Overview"
    index_template = "admin/tenant_index.html"

    def has_permission(self, request: HttpRequest) -> bool:
        """Return whether the user of the request is active staff of the active tenant."""
        return not is_public() and bool(super().has_permission(request))

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """Return what every page shows, the community's name included."""
        name = active_tenant().name
        return {**super().each_context(request), "site_title": name, "site_header": name}


class OperatorsSite(_Site):
    """Where operators see all tenants, the queue and the clusters."""

    settings_name = "UNFOLD_OPERATORS"
    index_title = "Overview"
    index_template = "admin/operators_index.html"

    def has_permission(self, request: HttpRequest) -> bool:
        """Return whether the user of the request is active staff of the public schema."""
        return is_public() and bool(super().has_permission(request))

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """Return what every page shows."""
        return {**super().each_context(request), "site_title": "FleetPrompt", "site_header": "FleetPrompt"}


tenant_site = TenantSite()
operators_site = OperatorsSite()


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the side bar: what the user may see, a group per app.

    A model's admin may name its `icon`, and `side_links(request)` to show below it.
    """
    site = operators_site if is_public() else tenant_site
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
    # Below a model's own address may be that of another item.
    here = max(
        (item["link"] for item in items if request.path.startswith(item["link"])), key=len, default=""
    )
    for item in items:
        item["active"] = item["link"] == here
    return sections


def _items(site: UnfoldAdminSite, entry: dict[str, Any], request: HttpRequest) -> list[dict[str, Any]]:
    model_admin = site.get_model_admin(entry["model"])
    icon = getattr(model_admin, "icon", "data_object")
    side_links: Any = getattr(model_admin, "side_links", None)
    further = side_links(request) if side_links else []
    return [{"title": entry["name"], "icon": icon, "link": entry["admin_url"]}, *further]


def stylesheet(request: HttpRequest) -> str:
    """Return the address of the project's own styles."""
    return static("fleetprompt/admin.css")


def favicon(request: HttpRequest) -> str:
    """Return the address of the symbol in the browser's tab."""
    return static("fleetprompt/favicon.svg")


def script(request: HttpRequest) -> str:
    """Return the address of the project's own script."""
    return static("fleetprompt/admin.js")
