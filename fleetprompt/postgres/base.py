"""Database wrapper above django-tenants' own; Django requires the name of this module."""

import logging
import select
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
from django.db.utils import OperationalError
from django_tenants.postgresql_backend import base

from fleetprompt.postgres import embedded

logger = logging.getLogger(__name__)

CLIENT_CHECK_MILLISECONDS = 500
"""How often the server checks that the client of a running statement is still connected."""
# PostgreSQL would plan some prepared statements anew each time, which took longer than to execute them.
_SESSION = f"""
SET client_connection_check_interval = {CLIENT_CHECK_MILLISECONDS};
SET plan_cache_mode = force_generic_plan
"""


class DatabaseWrapper(base.DatabaseWrapper):  # type: ignore[misc]
    """Connects as Django does; with `EMBEDDED` in the settings, to the server in that folder.

    The server starts with the first connection, not on import: `--help`, type checks and other commands
    that need no database start none.

    A connection that the server has closed is replaced before the next statement, or the next
    transaction. Inside a transaction nothing is replaced: its effects are lost.

    `search_path` is set before a statement only when the server reports another value. PostgreSQL 18
    reports each change of it with the answer to the statement that made it, a rollback included. An older
    server reports nothing: the path is then set before each statement, as django-tenants does.
    """

    bound_to_session = 0
    """The number of open blocks of `outages.one_session`."""

    _last_set: tuple[str | None, bool, bytes] | None = None

    def close_if_health_check_failed(self) -> None:
        """Close a lost connection; Django calls this before statements and transactions."""
        if (
            self.connection is not None
            and self.autocommit
            and not self.in_atomic_block
            and not self.bound_to_session
            and self._is_lost()
        ):
            self.connection.close()
            self.close()
        super().close_if_health_check_failed()

    def close(self) -> None:
        """Close the connection, and log once that it was lost."""
        if self.connection is not None and self.connection.closed and not self.closed_in_transaction:
            logger.warning("the connection to the database was lost; there will be a new one")
        super().close()

    def _is_lost(self) -> bool:
        # Takes a microsecond; a question to the server would cost each statement a round trip.
        line = self.connection.pgconn
        if self.connection.closed:
            return True
        poll = select.poll()
        poll.register(line.socket, select.POLLIN)
        # An idle connection receives only notifications and the message that ends it.
        return bool(poll.poll(0)) and not self.is_usable()

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

    def init_connection_state(self) -> None:
        """Have the server cancel statements whose client is gone, and plan prepared ones once."""
        super().init_connection_state()
        self.connection.execute(_SESSION)

    def check_database_version_supported(self) -> None:
        """Refuse an old server; a connection that was cut before this check reports the version 0.

        Raises:
            OperationalError: the connection was cut.
            NotSupportedError: the server is too old.
        """
        if not self.pg_version:
            # Both are kept otherwise: the number, and the broken connection.
            del self.pg_version
            self.close()
            raise OperationalError("the connection was cut before the server's version was known")
        super().check_database_version_supported()

    def get_connection_params(self) -> dict[str, Any]:
        """Return psycopg's arguments, with the embedded server's socket as the host."""
        # Allows cursors to prepare statements; Django would turn that off, and its own do not ask for it.
        params = {**super().get_connection_params(), "prepare_threshold": 0}
        return {**params, "host": self._socket()} if self.settings_dict.get("EMBEDDED") else params

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Return a new connection; the embedded server is started again if it has stopped meanwhile."""
        try:
            return super().get_new_connection(conn_params)
        except psycopg.OperationalError:
            if not self.settings_dict.get("EMBEDDED"):
                raise
            _reach.cache_clear()
            return super().get_new_connection({**conn_params, "host": self._socket()})

    def _socket(self) -> str:
        settings = self.settings_dict
        # The owner grants rights to the application's role, which must exist.
        role = settings.get("APPLICATION") or settings["USER"]
        return _reach(settings["EMBEDDED"], settings["NAME"] or "postgres", role)


# To make sure costs a connection of its own.
@cache
def _reach(folder: Path, database: str, role: str) -> str:
    """Return where the embedded server in a folder listens; make sure that it does, the first time."""
    try:
        return str(embedded.start(folder, database, role))
    except embedded.EmbeddedServerError as error:
        raise OperationalError(str(error)) from error
