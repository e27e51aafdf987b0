"""Creation, restoration and deletion of tenants: row, domains and schema in one transaction."""

import re
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta

import idna
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import OperationalError, transaction
from django.http.request import validate_host
from django.utils import timezone
from django_tenants.utils import get_public_schema_name, schema_exists

from fleetprompt.errors import sqlstate
from fleetprompt.postgres.advisory_locks import lock_in_transaction, locked_session
from fleetprompt.postgres.owner import as_owner
from fleetprompt.postgres.queries import fetch_all
from fleetprompt.tenants import template
from fleetprompt.tenants.context import unknown
from fleetprompt.tenants.models import SCHEMA_PREFIX, Domain, Tenant, validate_slug
from fleetprompt.tenants.plans import migrate
from fleetprompt.tenants.records import Record

DEADLOCK = "40P01"
_IPV4_END = re.compile(r"[0-9]+|0x[0-9a-f]*")
OLDEST_CREATION = datetime(2000, 1, 1, tzinfo=UTC)
"""No tenant is older; in every time zone it is a time that Python and PostgreSQL can hold."""
CLOCK_TOLERANCE = timedelta(days=1)
"""How far the clock of the machine that created a tenant may be ahead of this one's."""
_DELETE_ATTEMPTS = 10
# Before the first migration the application may have no right to the schema, which to_regclass needs.
_TABLE_EXISTS = "SELECT FROM pg_tables WHERE tablename = %s AND schemaname = %s"


def create_tenant(slug: str, *, name: str, domain: str) -> Tenant:
    """Create a tenant with its schema, tables and primary domain, in one transaction.

    If the process is killed, PostgreSQL rolls everything back, the schema included. On a database without
    tables the shared ones are made first.

    Args:
        slug: see `validate_slug`; the schema becomes `org_<slug>`.
        name: what people call the community, 1 to 200 characters.
        domain: the host name that serves it, without a port.

    Raises:
        ValidationError: naming the field that is wrong or taken.
        RuntimeError: a transaction is open; the owner's role needs one of its own.
    """
    return _register(Record(slug, name, "active", [domain], timezone.now()), restored=False)


def restore_tenant(record: Record) -> Tenant:
    """Register a tenant again whose schema a backup has brought back, in one transaction.

    Its tables are brought up to date, and the application's role gets its rights.

    Raises:
        ValidationError: naming the field that is wrong or taken, or that there is no such schema.
        RuntimeError: a transaction is open.
    """
    return _register(record, restored=True)


def _register(record: Record, *, restored: bool) -> Tenant:
    validate_slug(record.slug)
    if not OLDEST_CREATION <= record.created_at <= timezone.now() + CLOCK_TOLERANCE:
        raise ValidationError(
            f"created_at: expected a time from {OLDEST_CREATION:%Y-%m-%d} until now; "
            f"got {record.created_at.isoformat()}"
        )
    names = [normalised_domain(domain) for domain in record.domains]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise ValidationError(f"domain: {repeated[0]!r} is named twice")
    ensure_shared_tables()
    schema = f"{SCHEMA_PREFIX}{record.slug}"
    tenant = Tenant(slug=record.slug, name=record.name.strip(), status=record.status, schema_name=schema)
    with as_owner(), nullcontext() if restored else template.current(), transaction.atomic():
        lock()
        if Tenant.objects.filter(slug=record.slug).exists():
            raise ValidationError(f"slug: a tenant {record.slug!r} exists already")
        refuse_taken_hosts(names)
        if restored and not schema_exists(schema):
            raise ValidationError(f"slug: there is no schema {schema!r}; restore it first")
        if not restored and schema_exists(schema):
            raise ValidationError(f"slug: the schema {schema!r} exists already, and no tenant owns it")
        tenant.full_clean(exclude=["schema_name"])
        tenant.save()
        # The insert has set the present time.
        tenant.created_at = record.created_at
        tenant.save(update_fields=["created_at"])
        for place, name in enumerate(names):
            Domain(tenant=tenant, domain=name, is_primary=place == 0).save()
        if restored:
            migrate(schema)
        else:
            template.clone(schema)
    return tenant


def lock() -> None:
    """Wait until no other transaction adds a tenant or a host name.

    Two that add the same one meet here instead of in a constraint.
    """
    lock_in_transaction("fleetprompt.provisioning")


@as_owner()
def delete_tenant(slug: str) -> None:
    """Remove a tenant for good: its row, its domains and its schema with everything in it.

    Raises:
        ValidationError: there is no such tenant.
    """
    # Read first: a row that cannot be read stays as it is.
    if not Tenant.objects.filter(slug=slug).first():
        raise unknown("slug", slug)
    # No directive of a suspended tenant is claimed.
    Tenant.objects.filter(slug=slug).update(status=Tenant.Status.SUSPENDED)
    for attempt in range(1, _DELETE_ATTEMPTS + 1):
        try:
            with transaction.atomic():
                Tenant.objects.select_for_update().get(slug=slug).delete(force_drop=True)
            return
        except OperationalError as error:
            # A worker that still executes takes locks in another order.
            if attempt == _DELETE_ATTEMPTS or sqlstate(error) != DEADLOCK:
                raise


def ensure_shared_tables() -> None:
    """Make the public schema's tables when the database has none; never touch an existing set."""
    if _has_shared("django_migrations"):
        return
    # Two first commands on an empty database must not both migrate it. Migrating may end the session.
    with as_owner(), locked_session("fleetprompt.shared"):
        if not _has_shared(Tenant._meta.db_table):
            call_command("migrate_schemas", shared=True, verbosity=0)


def _has_shared(table: str) -> bool:
    # Django's introspection would read the tables of all tenants.
    return bool(fetch_all(_TABLE_EXISTS, table, get_public_schema_name()))


def normalised_domain(domain: str) -> str:
    """Return a tenant's host name as browsers send it, and as it is stored.

    Raises:
        ValidationError: it is no host name (RFC 1123; in other letters than ASCII's, RFC 5891), an
            IP address, or one of the operators' hosts.
    """
    domain = domain.strip().lower().removesuffix(".")
    try:
        encoded = idna.encode(domain, uts46=True, std3_rules=True).decode()
    except UnicodeError:
        encoded = ""
    # Browsers take a name that ends in a decimal or hexadecimal number for an IPv4 address.
    if not encoded or encoded.endswith(".") or _IPV4_END.fullmatch(encoded.rpartition(".")[2]):
        raise ValidationError(
            f"domain: expected a host name without port or path, such as forum.example.org; got {domain!r}"
        )
    if domain != encoded:
        raise ValidationError(f"domain: expected {domain!r} as browsers ask for it: {encoded}")
    if domain in settings.OPERATOR_HOSTS:
        raise ValidationError(f"domain: {domain!r} is a host of the operators")
    return domain


def refuse_taken_hosts(names: Sequence[str]) -> None:
    """Check that no tenant has one of the host names.

    Raises:
        ValidationError: naming it and the tenant.
    """
    if other := Domain.objects.select_related("tenant").filter(domain__in=names).first():
        raise ValidationError(f"domain: {other.domain!r} belongs to the tenant {other.tenant.slug!r}")


def is_unserved(domain: str) -> bool:
    """Return whether `domain` is missing from `ALLOWED_HOSTS`, so that requests to it are not found."""
    return not validate_host(domain, settings.ALLOWED_HOSTS)
