"""Database wrapper above django-tenants' own; Django requires the name of this module."""

from typing import Any

from django_tenants.postgresql_backend import base


class DatabaseWrapper(base.DatabaseWrapper):  # type: ignore[misc]
    """Sets `search_path` before a statement only when the server reports another value.

    PostgreSQL 18 reports each change of it with the answer to the statement that made it, a rollback
    included, without a round trip. An older server reports nothing: the path is then set before each
    statement, as django-tenants does.
    """

    _last_set: tuple[str | None, bool, bytes] | None = None

    def _handle_search_path(self, cursor: Any = None) -> None:
        if self._last_set == (self.schema_name, self.include_public_schema, self._reported()):
            return
        self._last_set = None
        super()._handle_search_path(cursor)
        # Nothing was set in a failed transaction, nor by a nested call.
        if self.search_path_set_schemas and not self._setting_search_path and (report := self._reported()):
            self._last_set = (self.schema_name, self.include_public_schema, report)

    def _reported(self) -> bytes | None:
        return self.connection.pgconn.parameter_status(b"search_path") if self.connection else None
