"""Checkpoints: copies of the seals' heads outside the database, kept when an older backup is restored."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO

from django.conf import settings
from fasteners import InterProcessLock

from fleetprompt.errors import Refused
from fleetprompt.postgres.queries import fetch_all
from fleetprompt.tenants.models import Tenant
from signals import sql
from signals.audit.format import canonical
from signals.audit.sealing import heads, stored
from signals.audit.sealing.heads import Signed
from signals.models import Seal

_MAX_LINE_BYTES = 64 * 1024
"""More than the bytes of a checkpoint."""
# The lock of a file is one per process.
_thread_lock = threading.RLock()


class Damaged(Refused):
    """A line of a checkpoint file is not what this program writes."""


def path(tenant: Tenant) -> Path:
    """Return the tenant's file of checkpoints; a later tenant of the same slug has another file."""
    created = tenant.created_at.astimezone(UTC)
    return settings.AUDIT_FOLDER / f"{tenant.slug}@{created:%Y%m%dT%H%M%S.%fZ}.jsonl"


def others(tenant: Tenant) -> list[Path]:
    """Return the files of earlier tenants of the same slug that are not put aside."""
    return sorted({*settings.AUDIT_FOLDER.glob(f"{tenant.slug}@*.jsonl")} - {path(tenant)})


def append(tenant: Tenant) -> bool:
    """Bring the active tenant's file up to date with the seals that are committed.

    It also writes the lines that a crash kept from being written. The lines are on disk when this
    returns. A file that knows other seals than the database, and a folder of another database, stay
    unchanged: `verify` reports them.

    Returns:
        whether the file's last line agrees with the database.

    Raises:
        Damaged: the file's last line cannot be read.
        OSError: the file cannot be written.
    """
    with locked():
        if foreign():
            return False
        if not _owner() and (made := _database()):
            mark().write_text(f"{made}\n")
        with path(tenant).open("a+b") as file:
            last = _repaired(file)
            number = int(last.head["number"]) if last else 0
            seal = Seal.objects.filter(number=number).first()
            if last and (seal is None or heads.of(seal, tenant).hash != last.hash):
                return False
            file.writelines(heads.of(seal, tenant).line for seal in stored.seals(after=number))
            file.flush()
            os.fsync(file.fileno())
        if not number:
            _sync(settings.AUDIT_FOLDER)
    return True


def read(file: Path) -> Iterator[Signed]:
    """Yield the checkpoints of a file in their order, without a last line that a crash cut off.

    Raises:
        Damaged: naming the line that cannot be read.
        OSError: there is no such file, or it cannot be read.
    """
    with file.open("rb") as lines:
        for number, line in enumerate(iter(partial(lines.readline, _MAX_LINE_BYTES), b""), start=1):
            if line.endswith(b"\n") or len(line) == _MAX_LINE_BYTES:
                yield _parsed(line, f"line {number} of {file}")


def mark() -> Path:
    """Return the file that names the database that the folder belongs to."""
    return settings.AUDIT_FOLDER / "database"


def foreign() -> str:
    """Return the sentence that the folder belongs to another database, or ""."""
    owner = _owner()
    if not owner or owner == _database():
        return ""
    return (
        f"{settings.AUDIT_FOLDER} has the checkpoints of another database, made {owner}: set AUDIT_FOLDER "
        "to a folder of this one's own, unless the database was replaced"
    )


def put_aside(files: list[Path], why: str) -> list[Path]:
    """Rename files, so that they are kept but no longer compared; return their new names."""
    suffix = f"{why}-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
    return [file.rename(file.with_name(f"{file.name}.{suffix}")) for file in files if file.exists()]


@contextmanager
def locked() -> Iterator[None]:
    """Keep other processes and threads from writing checkpoints on this machine for a block."""
    settings.AUDIT_FOLDER.mkdir(parents=True, exist_ok=True)
    with _thread_lock, InterProcessLock(settings.AUDIT_FOLDER / ".lock"):
        yield


def _owner() -> str:
    """Return the mark of the folder, or "" where it has none."""
    try:
        return mark().read_text(errors="replace").strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""


def _database() -> str:
    """Return the mark of this database: the time when it was made; "" where that is not known."""
    rows = fetch_all(sql.DATABASE_MADE)
    return heads.timestamp(rows[0][0]) if rows else ""


def _repaired(file: BinaryIO) -> Signed | None:
    """Return the last checkpoint, after cutting off a line that a crash left unfinished."""
    start = max(0, file.seek(0, os.SEEK_END) - _MAX_LINE_BYTES)
    file.seek(start)
    tail = file.read()
    whole = tail[: tail.rfind(b"\n") + 1]
    if len(whole) < len(tail):
        file.truncate(start + len(whole))
    return _parsed(whole.splitlines()[-1], f"the last line of {file.name}") if whole else None


def _parsed(line: bytes, where: str) -> Signed:
    with suppress(ValueError, RecursionError):
        found = heads.read(canonical.reload(line))
        if isinstance(found.head.get("number"), int):
            return found
    raise Damaged(f"{where} is no checkpoint")


def _sync(folder: Path) -> None:
    # After a power cut a new file exists only if its folder was written too.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
