"""Tenant of a web request, found by its host name."""

from contextlib import suppress

from django.conf import settings
from django.db import Error
from django.http import Http404, HttpRequest
from django.http.request import split_domain_port
from django_tenants.middleware.main import TenantMainMiddleware
from django_tenants.utils import get_public_schema_name

from fleetprompt.tenants.models import Domain, Tenant


class TenantMiddleware(TenantMainMiddleware):
    """Serves `OPERATOR_HOSTS` from the public schema, an active tenant's hosts from its own, else 404."""

    def get_tenant(self, domain_model: type[Domain], hostname: str) -> Tenant:
        """Return the tenant that `hostname` serves.

        Raises:
            Domain.DoesNotExist: no active tenant has the host name.
        """
        if hostname in settings.OPERATOR_HOSTS:
            return Tenant(slug="public", name="Operators", schema_name=get_public_schema_name())
        domain: Domain = domain_model.objects.select_related("tenant").get(
            domain=hostname, tenant__status=Tenant.Status.ACTIVE
        )
        tenant: Tenant = domain.tenant
        return tenant

    def process_exception(self, request: HttpRequest, exception: Exception) -> None:
        """Answer 404 when the tenant was deleted during the request.

        Raises:
            Http404: it was deleted; otherwise the error stays as it is.
        """
        tenant: Tenant = request.tenant  # type: ignore[attr-defined]
        if isinstance(exception, Error) and tenant.pk:
            with suppress(Error):
                if not Tenant.objects.filter(pk=tenant.pk).exists():
                    raise Http404(f"the tenant {tenant} was deleted") from None

    @staticmethod
    def hostname_from_request(request: HttpRequest) -> str:
        """Return the host name of `request`, without its port and in lower case."""
        return split_domain_port(request.get_host())[0]
