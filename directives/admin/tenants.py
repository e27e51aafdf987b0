"""The tenants' figures on the operators' first page: a row each, their chart, their failures."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest
from django.http.request import split_domain_port
from django.urls import reverse
from django.utils import timezone

from directives.models import Directive
from directives.monitoring import stalled, statistics
from fleetprompt.tenants import schemas
from fleetprompt.tenants.context import UnknownTenant, in_tenant
from fleetprompt.tenants.models import Tenant

MAX_FAILURES = 10


def rows(tenants: Sequence[Tenant]) -> list[dict[str, Any]]:
    """Return each tenant's row; its `figures` is None, and `error` says why, when they cannot be read."""
    now = timezone.now()
    missing = schemas.missing_migrations([tenant.schema_name for tenant in tenants])
    return [_row(tenant, missing[tenant.schema_name], now) for tenant in tenants]


def stuck(shown: Iterable[dict[str, Any]]) -> list[str]:
    """Return the slugs of stuck tenants: of those with a row as they are now, and of all others."""
    known = {row["tenant"].slug: row["is_stuck"] for row in shown}
    others = [slug for slug in stalled.stuck_tenants() if slug not in known]
    return sorted([*(slug for slug, is_stuck in known.items() if is_stuck), *others])


def hours(shown: Iterable[dict[str, Any]]) -> list[statistics.Hour]:
    """Return the last 24 hours of all rows together; none when no row could be read."""
    return statistics.add_up([row["hours"] for row in shown if row["figures"]])


def failures(shown: Iterable[dict[str, Any]], request: HttpRequest) -> list[dict[str, Any]]:
    """Return the latest failures of all rows, each with its tenant and its address on that one's host."""
    found = [(directive, row["tenant"]) for row in shown if row["figures"] for directive in row["failures"]]
    found.sort(key=lambda pair: pair[0].completed_at, reverse=True)
    _, port = split_domain_port(request.get_host())
    return [
        {"directive": directive, "tenant": tenant, "url": _address(tenant, directive, port)}
        for directive, tenant in found[:MAX_FAILURES]
    ]


def _row(tenant: Tenant, missing: list[str] | None, now: datetime) -> dict[str, Any]:
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


def _address(tenant: Tenant, directive: Directive, port: str) -> str:
    """Return the directive's page on the tenant's first host; nothing where that answers nobody."""
    domains = tenant.domains.all()
    if not domains or tenant.status != Tenant.Status.ACTIVE:
        return ""
    path = reverse("admin:directives_directive_change", args=[directive.pk], urlconf=settings.ROOT_URLCONF)
    return f"//{domains[0].domain}{f':{port}' if port else ''}{path}"
