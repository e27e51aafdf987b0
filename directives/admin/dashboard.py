"""Contexts of the first page of each site. Both pages fetch themselves again, as a fragment."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.paginator import Paginator
from django.db import DatabaseError
from django.http import HttpRequest
from django.http.request import split_domain_port
from django.urls import reverse
from django.utils import timezone

from directives import registry
from directives.display import labels
from directives.models import Directive
from directives.monitoring import stalled, statistics
from directives.queueing import clusters
from fleetprompt.sites import operators_site, tenant_site
from fleetprompt.tenants import schemas
from fleetprompt.tenants.context import UnknownTenant, in_tenant
from fleetprompt.tenants.models import Tenant

TENANTS_PER_PAGE = 25
MAX_FAILURES = 10


def of_tenant(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add the tenant's figures to the page's context, for those who may view directives."""
    if not request.user.has_perm("directives.view_directive"):
        return context
    failures = list(statistics.latest_failures())
    return {
        **context,
        "figures": statistics.read(),
        "chart": _chart(statistics.by_hour()),
        "failures": failures,
        "any_yet": bool(failures) or Directive.objects.exists(),
        "subject_lists": _subject_lists(),
    }


def of_operators(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add every tenant's figures, the queue and the clusters to the page's context.

    Tenants need the permission to view tenants, the queue that to view its messages.
    """
    if request.user.has_perm("tenants.view_tenant"):
        known = Tenant.objects.order_by("slug").prefetch_related("domains")
        page = Paginator(known, TENANTS_PER_PAGE).get_page(request.GET.get("page"))
        now = timezone.now()
        missing = schemas.missing_migrations([tenant.schema_name for tenant in page])
        rows = [_row(tenant, missing[tenant.schema_name], now) for tenant in page]
        readable = [row for row in rows if row["figures"]]
        hours = statistics.add_up([row["hours"] for row in readable])
        context |= {
            "page": page,
            "rows": rows,
            "stuck": _stuck(rows),
            "behind": schemas.behind(),
            "chart": _chart(hours) if hours else None,
            "failures": _failures(readable, request),
        }
    if request.user.has_perm("django_q.view_ormq"):
        context["queue"] = clusters.state()
    return context


def _subject_lists() -> list[tuple[str, str]]:
    """Return the names and addresses of the lists of what directives can be about."""
    acted_on = {handler.subject_type for handler in registry.handlers()}
    return [
        (str(model._meta.verbose_name_plural), url)
        for subject_type, model in registry.subject_models().items()
        if subject_type in acted_on and (url := labels.list_url(subject_type))
    ]


def _chart(hours: list[statistics.Hour]) -> dict[str, Any]:
    return {
        "hours": hours,
        "highest": max(hour.total for hour in hours),
        "zone": timezone.get_current_timezone_name(),
        "sums": statistics.sums(hours),
    }


def _row(tenant: Tenant, missing: list[str] | None, now: datetime) -> dict[str, Any]:
    """Return a tenant's figures; `figures` is None, and `error` says why, when they cannot be read."""
    row: dict[str, Any] = {"tenant": tenant, "missing": missing, "figures": None, "is_stuck": False}
    if missing is None:
        return {**row, "error": "its schema is missing or has no tables"}
    try:
        with in_tenant(tenant.slug):
            found = statistics.read()
            by_hour = statistics.by_hour(now)
            failed = list(statistics.latest_failures(MAX_FAILURES))
    except (DatabaseError, UnknownTenant) as error:
        return {**row, "error": str(error).strip().splitlines()[0]}
    is_active = tenant.status == Tenant.Status.ACTIVE
    return {
        **row,
        "figures": found,
        "is_stuck": found.is_stuck and is_active,
        "hours": by_hour,
        "sums": statistics.sums(by_hour),
        "failures": failed,
    }


def _stuck(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the slugs of stuck tenants: of those with a row as they are now, and of all others."""
    known = {row["tenant"].slug: row["is_stuck"] for row in rows}
    others = [slug for slug in stalled.stuck_tenants() if slug not in known]
    return sorted([*(slug for slug, is_stuck in known.items() if is_stuck), *others])


def _failures(rows: Sequence[dict[str, Any]], request: HttpRequest) -> list[dict[str, Any]]:
    """Return the latest failures of all rows, each with its tenant and its address on that one's host."""
    found = [(directive, row["tenant"]) for row in rows for directive in row["failures"]]
    found.sort(key=lambda pair: pair[0].completed_at, reverse=True)
    _, port = split_domain_port(request.get_host())
    return [
        {"directive": directive, "tenant": tenant, "url": _address(tenant, directive, port)}
        for directive, tenant in found[:MAX_FAILURES]
    ]


def _address(tenant: Tenant, directive: Directive, port: str) -> str:
    """Return the directive's page on the tenant's first host; nothing where that answers nobody."""
    domains = tenant.domains.all()
    if not domains or tenant.status != Tenant.Status.ACTIVE:
        return ""
    path = reverse("admin:directives_directive_change", args=[directive.pk], urlconf=settings.ROOT_URLCONF)
    return f"//{domains[0].domain}{f':{port}' if port else ''}{path}"


tenant_site.set_index("admin/tenant_index.html", of_tenant)
operators_site.set_index("admin/operators_index.html", of_operators)
