"""Whether people reach the tenants."""

from django.conf import settings
from django.core import checks

from fleetprompt.checkup import Findings, Tenants, Where, active, database
from fleetprompt.tenants.models import Domain
from fleetprompt.tenants.provisioning import is_unserved


@database("every tenant has a host that is served")
def hosts(tenants: Tenants) -> Findings:
    """A host that `ALLOWED_HOSTS` lacks is not found, and one of the operators' never is a tenant's."""
    found: dict[str, list[str]] = {slug: [] for slug in active(tenants).values()}
    domains = Domain.objects.order_by("domain")
    for slug, domain in domains.values_list("tenant__slug", "domain"):
        if slug in found:
            found[slug].append(domain)
    if without := [slug for slug, names in found.items() if not names]:
        yield checks.Warning(
            "there is no host name for it: nobody reaches it",
            hint="Add a domain in the operators' admin.",
            obj=Where(without),
            id="tenants.W001",
        )
    for slug, names in found.items():
        if unserved := [domain for domain in names if is_unserved(domain, settings.ALLOWED_HOSTS)]:
            yield checks.Warning(
                f"{', '.join(unserved)}: not served, since ALLOWED_HOSTS does not contain it",
                hint="Add it to ALLOWED_HOSTS, or remove the domain.",
                obj=Where([slug]),
                id="tenants.W002",
            )
        if hidden := [domain for domain in names if domain in settings.PUBLIC_HOSTS]:
            yield checks.Warning(
                f"{', '.join(hidden)}: serves the operators' site, since PUBLIC_HOSTS contains it",
                hint="Remove it from PUBLIC_HOSTS, or remove the domain.",
                obj=Where([slug]),
                id="tenants.W003",
            )
