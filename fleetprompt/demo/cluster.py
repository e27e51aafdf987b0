"""Runs a real `qcluster` in a process of its own, as long as the demo needs one."""

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from fleetprompt.operators import clusters

START_SECONDS = 30.0
STOP_SECONDS = 15.0
_RUNS = "running."  # what django-q2 logs when its workers are up


class DemoError(Exception):
    """The demo could not be played to its end; the text says why."""


class Cluster:
    """A running qcluster and what it has logged."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self._process = process
        self._log = log

    def check(self) -> None:
        """Check that the cluster runs.

        Raises:
            DemoError: it has ended, with the end of its log.
        """
        if (status := self._process.poll()) is not None:
            raise DemoError(f"the cluster ended by itself (status {status}).{self.last_words()}")

    def wait_until_up(self) -> None:
        """Return when the cluster's workers are up.

        Raises:
            DemoError: it ended, or took longer than half a minute.
        """
        deadline = time.monotonic() + START_SECONDS
        while _RUNS not in self._log.read_text(errors="replace"):
            self.check()
            if time.monotonic() > deadline:
                raise DemoError(f"the cluster did not start in {START_SECONDS:g} s.{self.last_words()}")
            time.sleep(0.05)

    def last_words(self) -> str:
        """Return the end of the log, as a paragraph to add to an error."""
        lines = self._log.read_text(errors="replace").strip().splitlines()[-15:]
        return "\n".join(["", "The cluster's last lines:", *(f"  {line}" for line in lines)])


@contextmanager
def running() -> Iterator[Cluster]:
    """Run a cluster for a block; it is stopped after it, also on Ctrl-C and on SIGTERM.

    Raises:
        DemoError: it does not start.
    """
    with (
        tempfile.TemporaryDirectory(prefix="fleetprompt-demo-") as folder,
        _sigterm_as_exit(),
    ):
        log = Path(folder, "cluster.log")
        with log.open("wb") as output:
            process = clusters.start(output)
        try:
            cluster = Cluster(process, log)
            cluster.wait_until_up()
            yield cluster
        finally:
            clusters.stop(process, seconds=STOP_SECONDS)


@contextmanager
def _sigterm_as_exit() -> Iterator[None]:
    def leave(signum: int, frame: FrameType | None) -> None:
        sys.exit(128 + signum)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
