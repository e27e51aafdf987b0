"""A `qcluster` as a child process, in a session of its own.

django-q2 stops cleanly when its main process alone is told to. A signal to the whole process group,
as from Ctrl-C or a process manager, kills its workers in the middle of what they do.
"""

import os
import signal
import subprocess
import sys
from typing import IO

from django.conf import settings


def start(output: IO[bytes] | None = None) -> "subprocess.Popen[bytes]":
    """Start a qcluster with this project's settings.

    Args:
        output: where its standard output and error go; to this process' own by default.
    """
    return subprocess.Popen(  # noqa: S603 - our own command, no input in it
        [sys.executable, str(settings.BASE_DIR / "manage.py"), "qcluster"],
        cwd=settings.BASE_DIR,
        # Workers change rows only, so they do not know the owner's login.
        env={**os.environ, "DATABASE_OWNER_URL": ""},
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
