"""Changes of existing tenants: name, status, host names; the operators' admin and commands make them."""

from django.core.exceptions import ValidationError
from django.db import transaction

from fleetprompt.tenants.context import unknown
from fleetprompt.tenants.models import Domain, Tenant
from fleetprompt.tenants.provisioning import lock, normalised_domain, refuse_taken_hosts


def find_tenant(slug: str, *, locked: bool = False) -> Tenant:
    """Return the tenant with that slug.

    Raises:
        ValidationError: there is none.
    """
    tenants = Tenant.objects.select_for_update() if locked else Tenant.objects.all()
    tenant: Tenant | None = tenants.filter(slug=slug).first()
    if tenant is None:
        raise unknown("slug", slug)
    return tenant


def change(slug: str, *, name: str | None = None, status: str | None = None) -> Tenant:
    """Give a tenant another name or status; the slug and the schema stay.

    Args:
        name: what people call the community, 1 to 200 characters; as it is by default.
        status: `active` or `suspended`; as it is by default. A suspended tenant's forum is not served,
            and its directives wait, in processes that run already too.

    Raises:
        ValidationError: naming the field that is not as expected, or that there is no such tenant.
    """
    with transaction.atomic():
        tenant = find_tenant(slug, locked=True)
        tenant.name = tenant.name if name is None else name.strip()
        tenant.status = tenant.status if status is None else status
        tenant.full_clean(exclude=["schema_name", "slug"])
        tenant.save(update_fields=["name", "status"])
    return tenant


def save_domain(domain: Domain) -> None:
    """Store a new host name of a tenant, or that a stored one is primary; the others are so no more.

    A tenant's first host name is primary.

    Raises:
        ValidationError: it is no host name, or another tenant's; it was removed meanwhile, or its tenant.
    """
    with transaction.atomic():
        lock()
        find_tenant(domain.tenant.slug, locked=True)
        if domain.pk is None:
            domain.domain = normalised_domain(domain.domain)
            refuse_taken_hosts([domain.domain])
        elif not Domain.objects.filter(pk=domain.pk).exists():
            raise ValidationError(
                f"domain: {domain.domain!r} is none of tenant {domain.tenant.slug} any more"
            )
        domain.save()


def find_domain(slug: str, host: str) -> Domain:
    """Return a tenant's host name.

    Raises:
        ValidationError: it is none of the tenant's; or there is no such tenant.
    """
    domains: dict[str, Domain] = {domain.domain: domain for domain in find_tenant(slug).domains.all()}
    if found := domains.get(host.strip().lower().removesuffix(".")):
        return found
    raise ValidationError(
        f"domain: {host!r} is none of tenant {slug}; it has {', '.join(domains) or 'none'}"
    )


def remove_domain(domain: Domain) -> None:
    """Remove a host name from its tenant.

    Raises:
        ValidationError: it is the primary one, or has become it since it was read.
    """
    with transaction.atomic():
        lock()
        if Domain.objects.filter(pk=domain.pk, is_primary=True).exists():
            slug = domain.tenant.slug
            raise ValidationError(
                f"domain: {domain.domain!r} is the primary one of tenant {slug}; make another one primary "
                f"first: `tenant domain add {slug} HOST --primary`"
            )
        domain.delete()
