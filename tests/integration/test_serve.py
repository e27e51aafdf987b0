"""`make run` in a terminal: all its processes end when the terminal is closed."""

import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import suppress

import psutil
import pytest
from django.conf import settings

from tests.support import environment, other_sessions, thinned, wait_until

MAKE = shutil.which("make")
MAKEFILE = f"run:\n\t@{sys.executable} manage.py serve --port $(PORT)\n"


@pytest.mark.skipif(not MAKE, reason="make is not installed")
@pytest.mark.parametrize("redirected", thinned(["", "< /dev/null > /dev/null 2>&1"], every=2))
def test_everything_ends_when_the_terminal_is_closed(database, tmp_path, redirected):
    (tmp_path / "Makefile").write_text(
        MAKEFILE.replace("\n\t@", "\n\t@cd $(BASE); ").rstrip() + f" {redirected}\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    terminal, inner = pty.openpty()
    processes = []

    def own_terminal():
        # The terminal is the session's, as in a window that runs just this.
        os.setsid()
        os.close(os.open(os.ttyname(0), os.O_RDWR))
        # A test run in the background ignores these, and so would its children.
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)

    leader = subprocess.Popen(
        [MAKE, "-f", str(tmp_path / "Makefile"), "run", f"PORT={port}", f"BASE={settings.BASE_DIR}"],
        cwd=tmp_path,
        env=environment(),
        stdin=inner,
        stdout=inner,
        stderr=inner,
        preexec_fn=own_terminal,
    )
    os.close(inner)
    try:
        wait_until(lambda: _listens(port), "the web server listens")
        processes = [psutil.Process(leader.pid), *psutil.Process(leader.pid).children(recursive=True)]
        wait_until(
            lambda: any("qcluster" in " ".join(child.cmdline()) for child in _children(leader)),
            "the cluster runs",
        )
        processes += _children(leader)
        os.close(terminal)
        leader.wait(30)
        _, alive = psutil.wait_procs(processes, timeout=20)
        assert not alive
        wait_until(lambda: other_sessions() == 0, "nobody uses the database")
    finally:
        for process in [*processes, *(_children(leader) if leader.poll() is None else [])]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        leader.kill()
        leader.wait()


def _children(leader):
    return [child for child in psutil.Process(leader.pid).children(recursive=True) if child.is_running()]


def _listens(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
