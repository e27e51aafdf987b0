"""Context manager that enters a tenant's schema, and functions about the active one."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db.models import CharField
from django_tenants.utils import get_public_schema_name

from fleetprompt.errors import Refused, near
from fleetprompt.postgres.direct import connection, execute
from fleetprompt.postgres.rows import fetch
from fleetprompt.telemetry.context import bound
from fleetprompt.tenants.models import Tenant

_TENANT_BY_NAME = "SELECT {columns} FROM public.tenants_tenant WHERE slug = %s OR schema_name = %s"


class TenantError(Refused):
    """The tenant asked for cannot be entered, or none is active where one is needed."""


class UnknownTenant(TenantError):
    """There is no tenant with that slug or schema."""


class NoActiveTenant(TenantError):
    """The call needs an active tenant, and the public schema is the active one."""


@contextmanager
def in_tenant(slug_or_schema: str) -> Iterator[Tenant]:
    """Make a tenant's schema the active one for a block, and the public one after it.

    If the tenant is active already, nothing changes, also after the block. Entering another tenant from
    inside one is refused: work for one community must not reach into the next.

    Args:
        slug_or_schema: the tenant's slug (`harbor`) or schema (`org_harbor`).

    Raises:
        UnknownTenant: no such tenant.
        TenantError: another tenant is active.
    """
    if not is_public():
        tenant = active_tenant()
        if slug_or_schema not in (tenant.slug, tenant.schema_name):
            raise TenantError(
                f"tenant {slug_or_schema!r} cannot be entered from inside tenant {tenant.slug!r}"
            )
        yield tenant
        return
    return_to_public()
    tenant = _find(slug_or_schema)
    return_to(tenant)
    try:
        with bound(tenant=tenant.slug):
            yield tenant
    finally:
        return_to_public()


def return_to(tenant: Tenant) -> None:
    """Make `tenant`'s schema the active one again, after code inside the block may have left it."""
    connection.set_tenant(tenant)


def restore(tenant: Tenant) -> bool:
    """Return to `tenant` if code inside its block has left it; return whether it had.

    It sends nothing: `search_path` is set with the next statement.
    """
    had_left = not is_whole(tenant)
    if had_left or connection.tenant is not tenant:
        return_to(tenant)
    return had_left


def is_whole(tenant: Tenant) -> bool:
    """Return whether `tenant`'s schema is active, with the public one behind it in the `search_path`."""
    return connection.schema_name == tenant.schema_name and bool(connection.include_public_schema)


def return_to_public() -> None:
    """Make the public schema the active one."""
    connection.set_schema_to_public()


def is_public() -> bool:
    """Return whether the public schema is the active one."""
    return connection.schema_name in (None, get_public_schema_name())


def active_schema() -> str:
    """Return the name of the active schema."""
    return str(connection.schema_name or get_public_schema_name())


def active_tenant() -> Tenant:
    """Return the tenant whose schema is active.

    Raises:
        NoActiveTenant: the public schema is active.
    """
    if is_public():
        raise NoActiveTenant("no tenant is active: wrap the call in in_tenant(slug)")
    tenant = connection.tenant
    # Other code of django-tenants sets a bare schema name; keys need the slug.
    return tenant if isinstance(tenant, Tenant) else _find(active_schema())


def _find(slug_or_schema: str) -> Tenant:
    # Columns of the type text keep the result type of the prepared statement through migrations.
    columns = [
        f"{field.column}{'::text' * isinstance(field, CharField)}" for field in Tenant._meta.concrete_fields
    ]
    # Each time slice of a worker begins here; the ORM would take three times as long.
    statement = _TENANT_BY_NAME.format(columns=", ".join(columns))
    rows = execute(statement, [slug_or_schema, slug_or_schema], prepare=True)
    with connection.wrap_database_errors:
        found = fetch(Tenant, rows)
    if not found:
        raise unknown("tenant", slug_or_schema)
    return found[0]


def unknown(field: str, name: str) -> UnknownTenant:
    """Return the error that there is no tenant of that name, with those of nearly that name.

    Args:
        field: the argument or option that names it.
    """
    slugs = Tenant.objects.values_list("slug", flat=True)
    return UnknownTenant(
        f"{field}: there is no tenant {name!r}; {near(name, slugs, otherwise='tenant list')}"
    )
