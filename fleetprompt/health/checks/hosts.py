"""Checks that the tenants' hosts are served."""

from django.conf import settings
from django.core import checks

from fleetprompt.health.checkup import Findings, Tenants, Where, active, database
from fleetprompt.tenants.models import Domain
from fleetprompt.tenants.provisioning import is_unserved


@database("every tenant has a host that is served")
def hosts(tenants: Tenants) -> Findings:
    """Django serves `ALLOWED_HOSTS` only, and the operators' hosts before those of tenants."""
    slugs = set(active(tenants).values())
    every = Domain.objects.order_by("tenant__slug", "domain").values_list("tenant__slug", "domain")
    pairs = [(slug, name) for slug, name in every if slug in slugs]
    if without := sorted(slugs - dict(pairs).keys()):
        yield checks.Warning(
            "it has no host name, so its pages cannot be reached",
            hint="Add a domain in the operators' admin.",
            obj=Where(without),
            id="tenants.W001",
        )
    if unserved := [(slug, name) for slug, name in pairs if is_unserved(name)]:
        yield checks.Warning(
            f"not served, since ALLOWED_HOSTS does not contain it: {Where(name for _, name in unserved)}",
            hint="Add it to ALLOWED_HOSTS, or remove the domain.",
            obj=Where(dict(unserved)),
            id="tenants.W002",
        )
    if hidden := [(slug, name) for slug, name in pairs if name in settings.OPERATOR_HOSTS]:
        names = Where(name for _, name in hidden)
        yield checks.Warning(
            f"serves the operators' site, since OPERATOR_HOSTS contains it: {names}",
            hint="Remove it from OPERATOR_HOSTS, or remove the domain.",
            obj=Where(dict(hidden)),
            id="tenants.W003",
        )
