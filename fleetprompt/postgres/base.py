"""The database wrapper under django-tenants' own; Django asks for this module by its name."""

from typing import Any

from django.db.backends.postgresql import base
from django.db.utils import OperationalError

from fleetprompt.postgres import embedded


class DatabaseWrapper(base.DatabaseWrapper):
    """Connects as Django does; with `EMBEDDED` in the settings, to the server in that folder.

    Starting the server on the first connection, not on import, keeps `--help`, type checks and
    every other command that needs no database from starting one.
    """

    def get_connection_params(self) -> dict[str, Any]:
        """Return psycopg's arguments, with the embedded server's socket as the host."""
        folder = self.settings_dict.get("EMBEDDED")
        if not folder:
            return super().get_connection_params()
        try:
            host = embedded.start(folder, self.settings_dict["NAME"] or "postgres")
        except embedded.EmbeddedServerError as error:
            raise OperationalError(str(error)) from error
        return {**super().get_connection_params(), "host": str(host)}
