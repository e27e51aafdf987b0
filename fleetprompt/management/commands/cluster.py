"""`manage.py cluster`: a qcluster that also stops cleanly when its whole process group is signalled."""

import signal
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from fleetprompt.cli.web_addresses import check_port
from fleetprompt.operators import clusters
from fleetprompt.telemetry import exposition, metrics


class Command(BaseCommand):
    """Runs `qcluster` as a child and passes signals on; can serve this machine's metrics."""

    help = "Run a cluster of queue workers; Ctrl-C and SIGTERM let them finish what they do."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--metrics-port",
            type=int,
            help=f"serve this machine's metrics at {exposition.PATH} on this port, for machines without a "
            "web server; METRICS_FOLDER must be set (default: not served)",
        )
        parser.add_argument(
            "--metrics-address",
            default="127.0.0.1",
            help="IP address to serve them on; any but a loopback one needs METRICS_TOKEN "
            "(default: %(default)s)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until the cluster ends, and end with its status."""
        if options["metrics_port"] is not None:
            _serve_metrics(options["metrics_address"], options["metrics_port"])
        process = clusters.start()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda signum, frame: process.terminate())
        status = process.wait()
        sys.exit(status if status >= 0 else 128 - status)


def _serve_metrics(address: str, port: int) -> None:
    if not metrics.is_on():
        raise CommandError("--metrics-port: METRICS_FOLDER is not set, so nothing is counted")
    check_port("--metrics-port", port)
    if not exposition.is_loopback(address) and not settings.METRICS_TOKEN:
        raise CommandError(
            f"--metrics-address: {address} is not this machine's loopback address; set METRICS_TOKEN, "
            "or anybody could read the metrics"
        )
    try:
        exposition.serve(address, port)
    except OSError as error:
        raise CommandError(f"--metrics-port: {address}:{port} cannot be used ({error.strerror})") from None
