"""The database wrapper above django-tenants' own; Django asks for this module by its name."""

from typing import Any

from django_tenants.postgresql_backend import base


class DatabaseWrapper(base.DatabaseWrapper):  # type: ignore[misc]
    """Sets `search_path` before a statement only when the server says that it is another one.

    PostgreSQL 18 reports each change of it with the answer to the statement that made it, a rollback
    included: there the truth costs no round trip. An older server reports nothing, and is told before
    each statement, as django-tenants does.
    """

    _told: tuple[str | None, bool, bytes] | None = None

    def _handle_search_path(self, cursor: Any = None) -> None:
        if self._told == (self.schema_name, self.include_public_schema, self._reported()):
            return
        self._told = None
        super()._handle_search_path(cursor)
        # Nothing is set in a transaction that has failed, nor while it is being set.
        if self.search_path_set_schemas and not self._setting_search_path and (report := self._reported()):
            self._told = (self.schema_name, self.include_public_schema, report)

    def _reported(self) -> bytes | None:
        return self.connection.pgconn.parameter_status(b"search_path") if self.connection else None
