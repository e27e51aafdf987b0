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
        settings = self.settings_dict
        folder = settings.get("EMBEDDED")
        # Django turns preparing off. Its own cursors never do it, so this is for those that ask for it.
        params = {**super().get_connection_params(), "prepare_threshold": 0}
        if not folder:
            return params
        # The owner's connection needs the application's role too: to give it its rights.
        role = settings.get("APPLICATION") or settings["USER"]
        try:
            host = embedded.start(folder, settings["NAME"] or "postgres", role)
        except embedded.EmbeddedServerError as error:
            raise OperationalError(str(error)) from error
        return {**params, "host": str(host)}
