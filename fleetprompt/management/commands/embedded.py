"""`manage.py embedded`: starts, stops, shows and uses the embedded PostgreSQL."""

import argparse
import os
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import connection

from fleetprompt.cli.console import OperatorCommand
from fleetprompt.postgres import embedded


class Command(OperatorCommand):
    """The subcommands that start, stop and show the embedded server."""

    help = "Start, stop, show or use the embedded PostgreSQL. It starts by itself when it is needed."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the subcommands."""
        parsers = parser.add_subparsers(required=True, metavar="SUBCOMMAND")
        self.subcommand(parsers, "start", self.start, "Start the server, or join the running one.")
        self.subcommand(parsers, "stop", self.stop, "Stop the server; its data stays.")
        self.subcommand(parsers, "status", self.status, "Say where the server listens, if it runs.")
        text = "Run one of PostgreSQL's programs, such as pg_dump or psql, on it as its superuser."
        run = self.subcommand(parsers, "run", self.run_program, text)
        run.add_argument("program")
        run.add_argument("arguments", nargs=argparse.REMAINDER, help="the program's own")

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

    def run_program(self, options: dict[str, Any]) -> None:
        """Replace this process by the program, which connects to the server and the database."""
        folder, programs = self._folder(), embedded.programs()
        known = sorted(path.name for path in programs.iterdir())
        if options["program"] not in known:
            raise CommandError(f"program: expected one of {', '.join(known)}; got {options['program']!r}")
        # Without the project's database, which the program may restore.
        socket = embedded.start(folder)
        os.environ |= {"PGHOST": str(socket), "PGPORT": "5432", "PGUSER": embedded.SUPERUSER}
        os.environ["PGDATABASE"] = connection.settings_dict["NAME"]
        program = programs / options["program"]
        # Without a shell, and the program is one of the wheel's.
        os.execv(program, [options["program"], *options["arguments"]])  # noqa: S606

    def _folder(self) -> Path:
        folder = connection.settings_dict.get("EMBEDDED")
        if not folder:
            raise CommandError("DATABASE_URL is set, so there is no embedded server here.")
        return Path(folder)
