"""`manage.py demo`: two sample communities and their moderation."""

import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.core.management.base import CommandError, CommandParser

from fleetprompt.cli import web_addresses
from fleetprompt.cli.console import OperatorCommand
from fleetprompt.demo import scenes, story, suggestions
from fleetprompt.operators import clusters


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
            self._play(options["timeout"], options["port"])
        except (clusters.ClusterError, story.DemoError) as error:
            raise CommandError(str(error)) from None

    def _play(self, seconds: float, port: int) -> None:
        run, harbor, orchard = scenes.prepare()
        self.stdout.write(
            f"Run {run}. New threads in two communities: {harbor.tenant} with {len(harbor.posts)} posts "
            f"and a spam wave, {orchard.tenant} with {len(orchard.posts)} posts and a quarrel.\n"
            "Starting a qcluster …"
        )
        # So that the cluster is stopped.
        signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(128 + signum))
        with (
            tempfile.TemporaryDirectory(prefix="fleetprompt-demo-") as folder,
            clusters.running(Path(folder, "cluster.log")) as cluster,
        ):
            self.stdout.write("Requesting directives, which the cluster's workers execute …")
            waiter = story.Waiter(cluster, seconds)
            played = story.play(self.console, run, harbor, orchard, waiter)
        suggestions.show(self.console, played, port)
