"""`manage.py migrate_schemas`: the public schema, the template of new tenants, and all tenants."""

import sys
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import connection
from django.db.models import Q
from django_tenants.management.commands import SyncCommon
from django_tenants.management.commands.migrate_schemas import MigrateSchemasCommand
from django_tenants.utils import get_public_schema_name, schema_exists

from fleetprompt.cli.console import OperatorCommand, progress
from fleetprompt.errors import first_line
from fleetprompt.postgres.owner import as_owner
from fleetprompt.postgres.sql import LOCK_IN_SESSION, TRY_LOCK_IN_SESSION
from fleetprompt.tenants import provisioning, schemas, template, upgrades
from fleetprompt.tenants.context import unknown
from fleetprompt.tenants.models import SCHEMA_PREFIX, Tenant

_LOCK = "fleetprompt.migrations"
_DJANGO_OPTIONS = [
    "app_label",
    "migration_name",
    "fake",
    "fake_initial",
    "plan",
    "prune",
    "run_syncdb",
    "executor",
]
"""Options that django-tenants' own command handles, tenant by tenant."""


class Command(MigrateSchemasCommand, OperatorCommand):  # type: ignore[misc]
    """Migrates as the database's owner; errors are sentences.

    Tenants that lack something are found together. A failure stops no other tenant, and the next run
    continues where this one stopped.
    """

    requires_system_checks: Any = "__all__"

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Return the parser, in which options may replace those of django-tenants."""
        return super().create_parser(prog_name, subcommand, conflict_handler="resolve", **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options; `--tenant` takes a slug, as in every other command."""
        super().add_arguments(parser)
        parser.add_argument(
            "--tenant",
            nargs="?",
            const=True,
            default=False,
            metavar="SLUG",
            help="only this tenant; without SLUG all tenants, and not the public schema",
        )
        # The third, `subprocess`, would run this command again, which waits for the end of this one.
        executors = ["standard", "multiprocessing"]
        parser.add_argument("--executor", choices=executors, help="how the tenants' migrations are run")

    def handle(self, *args: Any, **options: Any) -> None:
        """Migrate, after other runs have ended."""
        options["schema_name"] = _schema(options)
        with as_owner(), _alone(self.stderr):
            if any(options.get(name) for name in _DJANGO_OPTIONS):
                super().handle(*args, **options)
                return
            SyncCommon.handle(self, *args, **options)
            schema, with_tenants = self.schema_name, self.sync_tenant
            if self.sync_public:
                super().handle(*args, **{**options, "tenant": False, "shared": True, "schema_name": None})
            if with_tenants:
                self._migrate_tenants(schema, options)

    def lacks_table(self) -> str:
        """Return which tables the public schema lacks, though its migrations are on record."""
        missing = ", ".join(schemas.missing_tables()) or "not one of a model"
        return (
            f"django_migrations says that the public schema has its tables, but some are missing: "
            f"{missing}. "
            "Restore them from a backup; or delete their apps' rows from public.django_migrations, if all "
            "tables of those apps are missing, and run the command again, which makes them"
        )

    def _migrate_tenants(self, schema: str | None, options: dict[str, Any]) -> None:
        tenants = {schema: schema} if schema else _others(())
        if options["check_unapplied"]:
            missing = schemas.missing_migrations(tenants).values()
            sys.exit(1 if any(names != [] for names in missing) else 0)
        if not schema:
            with template.current():
                pass
        results: list[upgrades.Result] = []
        looked_at: dict[str, str] = {}
        try:
            while tenants:
                looked_at |= tenants
                with progress("Migrating tenants", len(tenants)) as advance:
                    for result in upgrades.migrate_all(tenants):
                        results.append(result)
                        advance(1)
                # Older code may have created some meanwhile.
                tenants = {} if schema else _others(looked_at)
        finally:
            self._tell(results, looked_at, options["verbosity"])

    def _tell(self, results: list[upgrades.Result], looked_at: dict[str, str], verbosity: int) -> None:
        if verbosity:
            counts = Counter(result.outcome for result in results)
            self.stdout.write(
                f"Tenants: {counts['migrated']} migrated, {counts['supplied']} given missing rights or "
                f"permissions, {counts['up to date']} up to date, {counts['failed']} failed."
            )
        rows = [
            {
                "tenant": looked_at[schema],
                "migration": migration,
                "error": f"{type(error).__name__}: {first_line(error)}",
            }
            for schema, _, migration, error in results
            # Other tenants were deleted meanwhile.
            if error and (schema_exists(schema) or Tenant.objects.filter(schema_name=schema).exists())
        ]
        if rows:
            self.print_rows(rows, ["tenant", "migration", "error"], style="table", empty="")
            raise CommandError(
                f"{len(rows)} of {len(looked_at)} tenants failed and are as they were before the migration "
                "that is named; mend that and run the command again, it goes on with them"
            )


def _schema(options: dict[str, Any]) -> str | None:
    """Return the one schema to migrate; None for all."""
    slug, schema = options.get("tenant"), options.get("schema_name")
    if isinstance(slug, str):
        if schema or options.get("shared"):
            raise CommandError("--tenant: expected without --schema and --shared when it names a tenant")
        provisioning.ensure_shared_tables()
        tenant = Tenant.objects.filter(Q(slug=slug) | Q(schema_name=slug)).first()
        if tenant is None:
            raise unknown("--tenant", slug)
        return str(tenant.schema_name)
    if schema and schema != get_public_schema_name() and not schema.startswith(SCHEMA_PREFIX):
        # As the owner of the database, it would make tables in any schema, information_schema too.
        raise CommandError(
            f"--schema: expected {get_public_schema_name()}, or a tenant's schema, which begins with "
            f"{SCHEMA_PREFIX}; got {schema!r}"
        )
    if schema and not schema_exists(schema):
        raise CommandError(f"--schema: there is no schema {schema!r}; see `tenant list`")
    return schema


def _others(known: Collection[str]) -> dict[str, str]:
    """Return the slugs of the other tenants, by schema."""
    tenants = Tenant.objects.order_by("slug").values_list("schema_name", "slug")
    return {schema: slug for schema, slug in tenants if schema not in known}


@contextmanager
def _alone(notes: Any) -> Iterator[None]:
    """Let one process at a time migrate; the lock has a session of its own, because migrating ends some."""
    with closing(connection.copy()) as other, other.cursor() as cursor:
        cursor.execute(TRY_LOCK_IN_SESSION, [_LOCK])
        if not cursor.fetchone()[0]:
            notes.write("Another process is migrating; waiting for its end.")
            cursor.execute(LOCK_IN_SESSION, [_LOCK])
        yield
