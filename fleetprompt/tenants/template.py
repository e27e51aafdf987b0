"""Template schema from which new tenants are cloned, rebuilt whenever the code has changed.

It belongs to the owner alone, and is no tenant: lists, sweeps and checks do not see it.
"""

import hashlib
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import django
from django.conf import settings
from django.db import transaction
from django.db.migrations.loader import MigrationLoader

from fleetprompt.postgres import cloning, grants
from fleetprompt.postgres.advisory_locks import locked_session
from fleetprompt.postgres.queries import execute, fetch_all, quoted
from fleetprompt.postgres.sql import CREATE_SCHEMA
from fleetprompt.tenants import seeds
from fleetprompt.tenants.plans import LOCK_TIMEOUT_MILLISECONDS, migrate

TEMPLATE = grants.TEMPLATE

_SET_LOCK_TIMEOUT = "SET LOCAL lock_timeout = {milliseconds}"
_DROP_SCHEMA = "DROP SCHEMA IF EXISTS {schema} CASCADE"
_SET_COMMENT = "COMMENT ON SCHEMA {schema} IS '{comment}'"
_COMMENT = "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = %s"


@contextmanager
def current() -> Iterator[None]:
    """Keep the template as the present code makes it for a block, as the database's owner.

    Other processes wait: during a deployment two versions of the code may make tenants, each with its own
    migrations.
    """
    name, wanted = quoted(TEMPLATE), _fingerprint()
    with locked_session("fleetprompt.template"):
        if fetch_all(_COMMENT, TEMPLATE) != [(wanted,)]:
            # Not in one transaction, because some migrations refuse to run in one. A template that was
            # left incomplete has no fingerprint, and is rebuilt.
            with transaction.atomic():
                # A running backup holds a lock on it.
                execute(_SET_LOCK_TIMEOUT.format(milliseconds=LOCK_TIMEOUT_MILLISECONDS))
                execute(_DROP_SCHEMA.format(schema=name))
                execute(CREATE_SCHEMA.format(schema=name))
            migrate(TEMPLATE)
            execute(_SET_COMMENT.format(schema=name, comment=wanted))
        yield


def clone(schema: str) -> None:
    """Make a schema as migrating would, with the rights of the application's role; inside `current()`.

    If the template has objects that cannot be cloned, such as a view, the schema is migrated instead.
    """
    if cloning.not_cloneable(TEMPLATE):
        execute(CREATE_SCHEMA.format(schema=quoted(schema)))
        migrate(schema)
    else:
        cloning.clone(TEMPLATE, schema)
        grants.grant(schema)


def _fingerprint() -> str:
    """Return a digest of all code that new tenants depend on."""
    loader = MigrationLoader(None, load=False)
    loader.load_disk()
    made = hashlib.sha256("\n".join([django.__version__, *settings.TENANT_APPS, *seeds.wanted()]).encode())
    for key in sorted(loader.disk_migrations):
        made.update("\n".join(key).encode())
        made.update(Path(inspect.getfile(type(loader.disk_migrations[key]))).read_bytes())
    return made.hexdigest()
