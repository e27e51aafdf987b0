"""A `qcluster` as a child process, in a session of its own.

django-q2 stops cleanly when its main process alone is told to. A signal to the whole process group,
as from Ctrl-C or a process manager, kills its workers in the middle of what they do.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from django.conf import settings

START_SECONDS = 40.0
STOP_SECONDS = 15.0
_POLL_SECONDS = 0.05
_RUNNING = b"running."
"""A part of django-q2's log line when its workers are up."""
_SHOWN_LINES = 15


class ClusterError(Exception):
    """A cluster did not start, or ended by itself; the text ends with its last lines."""


class Cluster:
    """A running qcluster with its output in a file."""

    def __init__(self, log: Path, **environment: str) -> None:
        self.log = log
        self._begin = log.stat().st_size if log.exists() else 0
        with log.open("ab") as output:
            self.process = start(output, **environment)

    def output(self) -> bytes:
        """Return what this cluster has written."""
        return self.log.read_bytes()[self._begin :]

    def check(self) -> None:
        """Check that the cluster runs.

        Raises:
            ClusterError: it has ended.
        """
        if (status := self.process.poll()) is not None:
            raise ClusterError(f"the cluster ended by itself (status {status}).{self.last_lines()}")

    def last_lines(self) -> str:
        """Return the end of the output, as a paragraph to add to an error."""
        lines = self.output().decode(errors="replace").strip().splitlines()[-_SHOWN_LINES:]
        return "\n".join(["", "The cluster's last lines:", *(f"  {line}" for line in lines)])


@contextmanager
def running(log: Path, **environment: str) -> Iterator[Cluster]:
    """Run a cluster for a block, from the time when its workers are up; stop it afterwards.

    Args:
        log: the file to which its output is added.
        environment: variables that differ from this process' own.

    Raises:
        ClusterError: it does not start.
    """
    cluster = Cluster(log, **environment)
    try:
        deadline = time.monotonic() + START_SECONDS
        while _RUNNING not in cluster.output():
            cluster.check()
            if time.monotonic() > deadline:
                late = f"the cluster did not start in {START_SECONDS:g} s."
                raise ClusterError(late + cluster.last_lines())
            time.sleep(_POLL_SECONDS)
        yield cluster
    finally:
        stop(cluster.process, seconds=STOP_SECONDS)


def start(output: IO[bytes] | None = None, **environment: str) -> "subprocess.Popen[bytes]":
    """Start a qcluster with this project's settings.

    Args:
        output: its standard output and error; this process' own by default.
        environment: variables that differ from this process' own.
    """
    return subprocess.Popen(  # noqa: S603 - our own command, no input in it
        [sys.executable, str(settings.BASE_DIR / "manage.py"), "qcluster"],
        cwd=settings.BASE_DIR,
        # Workers change rows only, so they do not know the owner's login.
        env={**os.environ, "DATABASE_OWNER_URL": "", **environment},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output else None,
        start_new_session=True,
    )


def stop(process: "subprocess.Popen[bytes]", *, seconds: float) -> None:
    """Let the workers finish what they do, for at most `seconds`; then kill what is left."""
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
