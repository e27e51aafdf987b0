"""`manage.py cluster`: a qcluster that also stops cleanly under managers that signal whole groups."""

import signal
import sys
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand

from fleetprompt import clusters


class Command(BaseCommand):
    """Runs `qcluster` as a child and passes on the wish to stop."""

    help = "Run a cluster of queue workers; Ctrl-C and SIGTERM let them finish what they do."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until the cluster ends, and end with its status."""
        process = clusters.start()

        def stop(signum: int, frame: FrameType | None) -> None:
            process.terminate()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        status = process.wait()
        sys.exit(status if status >= 0 else 128 - status)
