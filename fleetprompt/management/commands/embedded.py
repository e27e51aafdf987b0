"""`manage.py embedded`: look after the embedded PostgreSQL."""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import connection

from fleetprompt.console import OperatorCommand
from fleetprompt.postgres import embedded


class Command(OperatorCommand):
    """The subcommands that start, stop and show the embedded server."""

    help = "Start, stop or show the embedded PostgreSQL. It starts by itself when it is needed."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the subcommands."""
        parsers = parser.add_subparsers(required=True, metavar="SUBCOMMAND")
        self.subcommand(parsers, "start", self.start, "Start the server, or join the running one.")
        self.subcommand(parsers, "stop", self.stop, "Stop the server; its data stays.")
        self.subcommand(parsers, "status", self.status, "Say where the server listens, if it runs.")

    def start(self, options: dict[str, Any]) -> None:
        """Start the server."""
        folder = self._folder()
        connection.ensure_connection()
        self.stdout.write(f"Running. Socket: {embedded.socket_directory(folder)}")

    def stop(self, options: dict[str, Any]) -> None:
        """Stop the server."""
        self.stdout.write("Stopped." if embedded.stop(self._folder()) else "It was not running.")

    def status(self, options: dict[str, Any]) -> None:
        """Print whether the server runs, and where it listens."""
        socket = embedded.running(self._folder())
        self.stdout.write(f"Running. Socket: {socket}" if socket else "Not running.")

    def _folder(self) -> Path:
        folder = connection.settings_dict.get("EMBEDDED")
        if not folder:
            raise CommandError("DATABASE_URL is set, so there is no embedded server here.")
        return Path(folder)
