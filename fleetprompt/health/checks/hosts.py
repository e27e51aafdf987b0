"""Checks that the tenants' hosts are served."""

from collections.abc import Callable, Mapping

from django.conf import settings
from django.core import checks

from fleetprompt.health.checkup import Findings, Tenants, Where, active, database
from fleetprompt.tenants.models import Domain
from fleetprompt.tenants.provisioning import is_unserved


@database("every tenant has a host that is served")
def hosts(tenants: Tenants) -> Findings:
    """Django serves `ALLOWED_HOSTS` only, and the operators' hosts before those of tenants."""
    found: dict[str, list[str]] = {slug: [] for slug in active(tenants).values()}
    domains = Domain.objects.order_by("domain")
    for slug, domain in domains.values_list("tenant__slug", "domain"):
        if slug in found:
            found[slug].append(domain)
    if without := [slug for slug, names in found.items() if not names]:
        yield checks.Warning(
            "it has no host name, so its pages cannot be reached",
            hint="Add a domain in the operators' admin.",
            obj=Where(without),
            id="tenants.W001",
        )
    unserved = _those(found, lambda name: is_unserved(name, settings.ALLOWED_HOSTS))
    if unserved:
        yield checks.Warning(
            f"not served, since ALLOWED_HOSTS does not contain it: {_listed(unserved)}",
            hint="Add it to ALLOWED_HOSTS, or remove the domain.",
            obj=Where(unserved),
            id="tenants.W002",
        )
    hidden = _those(found, lambda name: name in settings.OPERATOR_HOSTS)
    if hidden:
        yield checks.Warning(
            f"serves the operators' site, since OPERATOR_HOSTS contains it: {_listed(hidden)}",
            hint="Remove it from OPERATOR_HOSTS, or remove the domain.",
            obj=Where(hidden),
            id="tenants.W003",
        )


def _those(names: Mapping[str, list[str]], is_wrong: Callable[[str], bool]) -> dict[str, list[str]]:
    wrong = {slug: [name for name in mine if is_wrong(name)] for slug, mine in names.items()}
    return {slug: mine for slug, mine in wrong.items() if mine}


def _listed(names: Mapping[str, list[str]]) -> str:
    return str(Where(name for mine in names.values() for name in mine))
