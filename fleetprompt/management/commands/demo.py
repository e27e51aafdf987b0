"""`manage.py demo`: two sample communities, moderated before your eyes."""

from typing import Any

from django.core.management import call_command
from django.core.management.base import CommandError, CommandParser

from fleetprompt.cli import web_addresses
from fleetprompt.cli.console import OperatorCommand
from fleetprompt.demo import main
from fleetprompt.demo.cluster import DemoError


class Command(OperatorCommand):
    """Brings the database up to date and plays the demo."""

    help = (
        "Make two sample communities (once) with new threads (each time), moderate them by "
        "directives on a real cluster, and print what happened."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        web_addresses.add_port(parser)
        parser.add_argument(
            "--timeout",
            type=float,
            default=60,
            metavar="SECONDS",
            help="how long the cluster has for all directives (default: 60)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Play the demo."""
        web_addresses.check_port("--port", options["port"])
        call_command("migrate_schemas", verbosity=0)
        try:
            main.run(self.console, options["timeout"], options["port"])
        except DemoError as error:
            raise CommandError(str(error)) from None
