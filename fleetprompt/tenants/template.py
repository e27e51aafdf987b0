"""The schema from which new tenants are cloned: migrated once, and made anew whenever the code changed.

It belongs to the owner alone, and no row of `Tenant` has it: lists, sweeps and checks do not see it.
"""

import hashlib
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.db import connection, transaction
from django.db.migrations.loader import MigrationLoader

from fleetprompt.postgres import cloning, grants
from fleetprompt.postgres.outages import one_session
from fleetprompt.tenants import seeds
from fleetprompt.tenants.plans import PATIENCE, migrate

TEMPLATE = grants.TEMPLATE


@contextmanager
def current() -> Iterator[None]:
    """Keep the template as the present code would make it, for a block, by the database's owner.

    Who comes meanwhile waits: two versions of the code may be at work during a deployment, and each
    makes tenants as its own migrations do.

    Raises:
        Exception: whatever a migration raised.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(hashtext('fleetprompt.template'))")
    try:
        with one_session():
            _ensure()
            yield
    finally:
        # What ends the session ends the lock, also when nothing else can be said to the server any more.
        connection.close()


def clone(schema: str) -> None:
    """Make a schema as migrating would, with the rights of the application's role; inside `current()`.

    What cannot be cloned, such as a view, is made by migrating: slower, and as right.
    """
    if cloning.strangers(TEMPLATE):
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE SCHEMA {connection.ops.quote_name(schema)}")
        migrate(schema)
    else:
        cloning.clone(TEMPLATE, schema)
        grants.grant(schema)


def _ensure() -> None:
    wanted = _fingerprint()
    if _recorded() == wanted:
        return
    # Not in one transaction, since some migrations refuse to run in one. What stops half-way has no
    # fingerprint, and is made anew.
    name = connection.ops.quote_name(TEMPLATE)
    with transaction.atomic(), connection.cursor() as cursor:
        # A backup that is being made holds it.
        cursor.execute(f"SET LOCAL lock_timeout = '{PATIENCE}'")
        cursor.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")
        cursor.execute(f"CREATE SCHEMA {name}")
    migrate(TEMPLATE)
    with connection.cursor() as cursor:
        cursor.execute(f"COMMENT ON SCHEMA {name} IS '{wanted}'")


def _recorded() -> Any:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = %s", [TEMPLATE]
        )
        row = cursor.fetchone()
    return row[0] if row else None


def _fingerprint() -> str:
    """Return what tells one state of the code from another, as far as new tenants depend on it."""
    loader = MigrationLoader(None, load=False)
    loader.load_disk()
    made = hashlib.sha256("\n".join([django.__version__, *settings.TENANT_APPS, *seeds.wanted()]).encode())
    for key in sorted(loader.disk_migrations):
        made.update("\n".join(key).encode())
        made.update(Path(inspect.getfile(type(loader.disk_migrations[key]))).read_bytes())
    return made.hexdigest()
