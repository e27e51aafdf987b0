"""Migration plans: one plan serves all schemas that lack the same migrations."""

from contextlib import nullcontext
from typing import Any

from django.core.management import CommandError
from django.core.management.sql import emit_post_migrate_signal, emit_pre_migrate_signal
from django.db import transaction
from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder
from django.db.migrations.state import ProjectState

from fleetprompt.postgres.direct import connection
from fleetprompt.tenants import seeds
from fleetprompt.tenants.context import return_to_public
from fleetprompt.tenants.schemas import History, histories

LOCK_TIMEOUT_MILLISECONDS = 30_000
"""How long a migration waits for a lock on a table."""


class Plan:
    """The migrations from one history to the newest state; costly parts are done once for all schemas.

    Attributes:
        migrations: the missing ones, in the order in which they are applied.
        is_empty: whether nothing is missing.
    """

    running = ""
    """The name of the migration that is being applied; after an error, of the one that failed."""

    def __init__(self, schema: str, history: History) -> None:
        """Plan for all schemas with a history, of which `schema` is one.

        Raises:
            InconsistentMigrationHistory: a migration was applied before one that it depends on.
            CommandError: an app has two last migrations.
        """
        connection.set_schema(schema)
        self._is_new = not history
        self._executor = MigrationExecutor(connection)
        loader = self._executor.loader
        loader.check_consistent_history(connection)
        if conflicts := loader.detect_conflicts():
            raise CommandError(f"migrations conflict; see `makemigrations --merge`: {conflicts}")
        targets = loader.graph.leaf_nodes()
        missing = {migration for migration, _ in self._executor.migration_plan(targets)}
        every = [migration for migration, _ in self._executor.migration_plan(targets, clean_start=True)]
        self.migrations: list[Migration] = [migration for migration in every if migration in missing]
        self.is_empty = not missing and not any(
            key not in history and history.issuperset(squashed.replaces)
            for key, squashed in loader.replacements.items()
        )
        self._signal: dict[str, Any] = {
            "verbosity": 0,
            "interactive": False,
            "db": connection.alias,
            "plan": [(migration, False) for migration in self.migrations],
        }
        if missing:
            executor: Any = self._executor
            self._state: ProjectState = executor._create_project_state(with_applied_migrations=True)
            # Builds the models, which clones of the state share. Receivers add operations that rename
            # content types: the signal must be sent once only.
            emit_pre_migrate_signal(**self._signal, apps=self._state.apps)

    def apply(self, schema: str) -> None:
        """Bring a schema up to date, with its seeds.

        Each migration has a transaction of its own, unless one is open. The last one shares it with the
        seeds: a schema that has all migrations has all seeds.
        """
        self.running = ""
        if self._is_new:
            # Behind a schema without the table, the public one would answer for it.
            connection.set_schema(schema, include_public=False)
            MigrationRecorder(connection).ensure_schema()
        connection.set_schema(schema)
        if self.migrations:
            self._apply_all(schema)
        else:
            self._supply(schema)
        if self._executor.loader.replacements:
            self._executor.check_replacements()

    def finish(self, schema: str) -> None:
        """Send `post_migrate` for a schema, in one transaction."""
        connection.set_schema(schema)
        with transaction.atomic():
            emit_post_migrate_signal(**self._signal)

    def _supply(self, schema: str) -> None:
        # Asking for missing seeds takes a tenth of the time of `post_migrate`.
        if self._is_new or seeds.lacking([schema]):
            self.finish(schema)

    def _apply_all(self, schema: str) -> None:
        if ("contenttypes", "contenttype") in self._state.models:
            # The cache has ids of another schema.
            self._state.apps.get_model("contenttypes", "ContentType").objects.clear_cache()
        state = self._state.clone()
        *others, last = self.migrations
        for migration in others:
            state = self._run(migration, state)
        with transaction.atomic() if last.atomic else nullcontext():
            self._run(last, state)
            self._supply(schema)

    def _run(self, migration: Migration, state: ProjectState) -> ProjectState:
        self.running = str(migration)
        state = self._executor.apply_migration(state, migration)
        self.running = ""
        return state


def migrate(schema: str) -> None:
    """Bring one schema up to date, which may have no tables; the public one is active afterwards."""
    try:
        history = histories([schema])[schema] or frozenset()
        Plan(schema, history).apply(schema)
    finally:
        return_to_public()
