"""Making and removing tenants: the row, the domain and the schema come and go together."""

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import OperationalError, connection, transaction
from django.db.migrations.recorder import MigrationRecorder
from django.http.request import validate_host
from django_tenants.utils import schema_exists

from fleetprompt.postgres.owner import as_owner
from fleetprompt.tenants.context import return_to_public
from fleetprompt.tenants.models import SCHEMA_PREFIX, Domain, Tenant, validate_slug

DEADLOCK = "40P01"


def create_tenant(slug: str, *, name: str, domain: str, restored: bool = False) -> Tenant:
    """Create a tenant with its schema, tables and primary domain, in one transaction.

    A process killed half-way leaves nothing behind, because PostgreSQL rolls the schema back too.
    On a database without any table the shared ones are made first.

    Args:
        slug: see `validate_slug`; the schema becomes `org_<slug>`.
        name: what people call the community, 1 to 200 characters.
        domain: the host name that serves it, without a port.
        restored: take the schema that a backup has brought back, and bring it up to date, instead of
            making an empty one.

    Raises:
        ValidationError: naming the field that is wrong or taken.
        RuntimeError: a transaction is open; the owner's role needs one of its own.
    """
    validate_slug(slug)
    ensure_shared_tables()
    with as_owner():
        return _create(slug, name, domain, restored)


def _create(slug: str, name: str, domain: str, restored: bool) -> Tenant:
    schema = f"{SCHEMA_PREFIX}{slug}"
    tenant = Tenant(slug=slug, name=name.strip(), schema_name=schema)
    address = Domain(domain=normalised_domain(domain), is_primary=True)
    with transaction.atomic():
        # Two processes that create the same tenant meet here instead of in a constraint.
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext('fleetprompt.provisioning'))")
        _refuse_taken(tenant, address, restored)
        tenant.full_clean(exclude=["schema_name"])
        tenant.save()
        address.tenant = tenant
        address.save()
        if not restored:
            with connection.cursor() as cursor:
                cursor.execute(f"CREATE SCHEMA {connection.ops.quote_name(schema)}")
        try:
            call_command("migrate_schemas", schema_name=schema, tenant=True, verbosity=0)
        finally:
            return_to_public()
    return tenant


def delete_tenant(slug: str) -> None:
    """Remove a tenant for good: its row, its domains and its schema with everything in it.

    Raises:
        ValidationError: there is no such tenant.
    """
    with as_owner():
        _delete(slug)


def _delete(slug: str) -> None:
    # Nothing is claimed in a suspended tenant any more, so the schema comes to rest.
    if not Tenant.objects.filter(slug=slug).update(status=Tenant.Status.SUSPENDED):
        raise ValidationError(f"slug: there is no tenant {slug!r}; see `tenant list`")
    for last in (False,) * 9 + (True,):
        try:
            with transaction.atomic():
                Tenant.objects.select_for_update().get(slug=slug).delete(force_drop=True)
            return
        except OperationalError as error:
            # A worker that was in the middle of something holds locks in another order.
            if last or getattr(error.__cause__, "sqlstate", "") != DEADLOCK:
                raise


def ensure_shared_tables() -> None:
    """Make the public schema's tables when the database has none; never touch an existing set."""
    if MigrationRecorder(connection).has_table():
        return
    with as_owner():
        with connection.cursor() as cursor:
            # Held by the session: two first commands on an empty database must not both migrate it.
            cursor.execute("SELECT pg_advisory_lock(hashtext('fleetprompt.shared'))")
        try:
            if Tenant._meta.db_table not in connection.introspection.table_names():
                call_command("migrate_schemas", shared=True, verbosity=0)
        finally:
            # Migrating may have ended the session, and the lock with it; ending it here does no harm.
            connection.close()


def normalised_domain(domain: str) -> str:
    """Return a tenant's host name as it is stored.

    Raises:
        ValidationError: it is no host name, or one of the operators'.
    """
    domain = domain.strip().lower().rstrip(".")
    if not domain or len(domain) > 253 or any(c in domain for c in "/: *@") or domain[0] == ".":
        raise ValidationError(f"domain: expected a host name without port or path; got {domain!r}")
    if domain in settings.PUBLIC_HOSTS:
        raise ValidationError(f"domain: {domain!r} is a host of the operators")
    return domain


def _refuse_taken(tenant: Tenant, address: Domain, restored: bool) -> None:
    if Tenant.objects.filter(slug=tenant.slug).exists():
        raise ValidationError(f"slug: a tenant {tenant.slug!r} exists already")
    other = Domain.objects.select_related("tenant").filter(domain=address.domain).first()
    if other:
        raise ValidationError(f"domain: {address.domain!r} belongs to the tenant {other.tenant.slug!r}")
    exists = schema_exists(tenant.schema_name)
    if restored and not exists:
        raise ValidationError(f"slug: there is no schema {tenant.schema_name!r}; restore it first")
    if exists and not restored:
        raise ValidationError(
            f"slug: the schema {tenant.schema_name!r} exists already, and no tenant owns it"
        )


def is_unserved(domain: str, allowed_hosts: list[str]) -> bool:
    """Return whether `domain` is missing from `allowed_hosts`, so that requests to it are not found."""
    return not validate_host(domain, allowed_hosts)
