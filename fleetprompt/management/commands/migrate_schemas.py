"""`manage.py migrate_schemas`: django-tenants' own, run by the database's owner."""

from typing import Any

from django_tenants.management.commands.migrate_schemas import MigrateSchemasCommand

from fleetprompt.console import OperatorCommand
from fleetprompt.postgres.owner import as_owner


class Command(MigrateSchemasCommand, OperatorCommand):  # type: ignore[misc]
    """Migrates the public schema and the tenants' as the owner; errors are sentences."""

    requires_system_checks: Any = "__all__"

    def handle(self, *args: Any, **options: Any) -> None:
        """Migrate."""
        with as_owner():
            super().handle(*args, **options)
