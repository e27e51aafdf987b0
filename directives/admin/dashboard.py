"""Contexts of the first page of each site. Both pages fetch themselves again, as a fragment."""

from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest
from django.utils import timezone

from directives import registry
from directives.admin import tenants
from directives.display import labels
from directives.models import Directive
from directives.monitoring import statistics
from directives.queueing import clusters
from fleetprompt.sites import operators_site, tenant_site
from fleetprompt.tenants import schemas
from fleetprompt.tenants.models import Tenant

TENANTS_PER_PAGE = 25


def of_tenant(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add the tenant's figures to the page's context, for those who may view directives."""
    context["base"] = _base(request)
    if not request.user.has_perm("directives.view_directive"):
        return context
    hours = statistics.by_hour()
    failures = list(statistics.latest_failures())
    return {
        **context,
        "figures": statistics.read(),
        "chart": _chart(hours),
        "failures": failures,
        "any_yet": bool(failures) or Directive.objects.exists(),
        "subject_lists": _subject_lists(),
    }


def of_operators(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add every tenant's figures, the queue and the clusters to the page's context.

    Tenants need the permission to view tenants, the queue that to view its messages.
    """
    context["base"] = _base(request)
    if request.user.has_perm("tenants.view_tenant"):
        known = Tenant.objects.order_by("slug").prefetch_related("domains")
        page = Paginator(known, TENANTS_PER_PAGE).get_page(request.GET.get("page"))
        rows = tenants.rows(list(page))
        hours = tenants.hours(rows)
        context |= {
            "page": page,
            "rows": rows,
            "stuck": tenants.stuck(rows),
            "behind": schemas.behind(),
            "chart": _chart(hours) if hours else None,
            "failures": tenants.failures(rows, request),
        }
    if request.user.has_perm("django_q.view_ormq"):
        context["queue"] = clusters.state()
    return context


def _base(request: HttpRequest) -> str:
    is_fragment = "HX-Request" in request.headers
    return "admin/directives/fragment.html" if is_fragment else "admin/base_site.html"


def _subject_lists() -> list[tuple[str, str]]:
    """Return the names and addresses of the lists of what directives can be about."""
    acted_on = {handler.subject_type for handler in registry.handlers()}
    found = registry.subject_models()
    models = [model for subject_type, model in found.items() if subject_type in acted_on]
    return [
        (str(model._meta.verbose_name_plural), url) for model in models if (url := labels.list_url(model))
    ]


def _chart(hours: list[statistics.Hour]) -> dict[str, Any]:
    """Return the bars with their heights in per cent of the tallest, and the sums."""
    highest = max(hour.total for hour in hours)
    return {
        "hours": [
            {
                "start": hour.start,
                "counts": hour.counts,
                "bars": [
                    (outcome, round(100 * hour.counts[outcome] / highest, 1))
                    for outcome in reversed(statistics.OUTCOMES)
                    if hour.counts[outcome]
                ],
            }
            for hour in hours
        ],
        "highest": highest,
        "zone": timezone.get_current_timezone_name(),
        "sums": statistics.sums(hours),
    }


tenant_site.set_index("admin/tenant_index.html", of_tenant)
operators_site.set_index("admin/operators_index.html", of_operators)
