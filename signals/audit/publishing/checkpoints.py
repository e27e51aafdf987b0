"""Copies of the seals' heads outside the database, which restoring an older backup does not take back."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from django.conf import settings
from django.db import connection
from fasteners import InterProcessLock

from fleetprompt.tenants.models import Tenant
from signals.audit.format import canonical, heads
from signals.audit.format.heads import Signed
from signals.audit.models import Seal

CHUNK = 1_000
"""How many seals are in memory at a time."""

_LINE_BYTES = 64 * 1024
"""More than a checkpoint has."""
# Dumps, restores and other host names leave it as it is; two databases never have the same.
_MADE = """
    SELECT applied FROM public.django_migrations WHERE app = 'tenants' AND name = '0001_initial'
"""
# The lock of a file is one per process.
_threads = threading.RLock()


class Damaged(ValueError):
    """A line of a checkpoint file is not what this program writes."""


def path(tenant: Tenant) -> Path:
    """Return where the tenant's checkpoints stand; a later tenant of the same slug has another file."""
    return _folder() / f"{tenant.slug}@{tenant.created_at.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}.jsonl"


def others(tenant: Tenant) -> list[Path]:
    """Return the files of earlier tenants of the same slug that nobody has put aside."""
    mine = path(tenant)
    return sorted(file for file in _folder().glob(f"{tenant.slug}@*.jsonl") if file != mine)


def append(tenant: Tenant) -> bool:
    """Bring the active tenant's file up to date with the seals that are committed.

    What a crash kept from being written is written with the next seal. The lines are on disk when this
    returns. A file that knows other seals than the database, and a folder of another database, is left as
    it is: `verify` tells.

    Returns:
        whether the file agrees with the database as far as that was looked at.

    Raises:
        OSError: the file cannot be written.
    """
    with locked():
        if foreign():
            return False
        adopt()
        file = path(tenant)
        last = _repaired(file)
        if last and not _is_stored(last, tenant):
            return False
        number = int(last.head["number"]) if last else 0
        with file.open("ab") as out:
            for seals in _chunks(number):
                out.write(b"".join(heads.of_seal(seal, tenant).line for seal in seals))
            out.flush()
            os.fsync(out.fileno())
        if not number:
            _sync(file.parent)
    return True


def read(file: Path) -> Iterator[Signed]:
    """Yield the checkpoints of a file in their order; a line that a crash cut off at the end is none.

    Raises:
        Damaged: naming the line that cannot be read.
        OSError: there is no such file, or it cannot be read.
    """
    with file.open("rb") as lines:
        for number, line in enumerate(iter(partial(lines.readline, _LINE_BYTES), b""), start=1):
            if line.endswith(b"\n") or len(line) == _LINE_BYTES:
                yield _parsed(line, f"line {number} of {file}")


def mark() -> Path:
    """Return the file that says which database the folder belongs to."""
    return _folder() / "database"


def foreign() -> str:
    """Return the sentence that the folder belongs to another database, or nothing."""
    owner = _owner()
    if not owner or owner == _database():
        return ""
    return (
        f"{_folder()} has the checkpoints of another database, made {owner}: set AUDIT_FOLDER to a folder "
        "of this one's own, unless somebody has replaced the database"
    )


def adopt() -> None:
    """Say that the folder belongs to this database, if nothing says so yet."""
    if not _owner() and (made := _database()):
        mark().write_text(f"{made}\n")


def put_aside(files: list[Path], why: str) -> list[Path]:
    """Rename files, so that they are kept and no longer compared with; return their new names."""
    suffix = f"{why}-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
    return [file.rename(file.with_name(f"{file.name}.{suffix}")) for file in files if file.exists()]


@contextmanager
def locked() -> Iterator[None]:
    """Keep other processes and threads from writing checkpoints on this machine for a block."""
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    with _threads, InterProcessLock(folder / ".lock"):
        yield


def _folder() -> Path:
    return Path(settings.AUDIT_FOLDER)


def _owner() -> str:
    """Return which database the folder belongs to; nothing where nobody has said so."""
    try:
        return mark().read_text(errors="replace").strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""


def _database() -> str:
    """Return when the database was made, to the microsecond; nothing where that is not known."""
    with connection.cursor() as cursor:
        cursor.execute(_MADE)
        row = cursor.fetchone()
    return heads.moment(row[0]) if row else ""


def _chunks(number: int) -> Iterator[list[Seal]]:
    while seals := list(Seal.objects.filter(number__gt=number).order_by("number")[:CHUNK]):
        yield seals
        number = seals[-1].number


def _repaired(file: Path) -> Signed | None:
    """Return the last checkpoint, after cutting off a line that a crash left unfinished."""
    if not file.exists():
        return None
    with file.open("r+b") as lines:
        size = lines.seek(0, os.SEEK_END)
        start = max(0, size - _LINE_BYTES)
        lines.seek(start)
        tail = lines.read()
        whole = tail[: tail.rfind(b"\n") + 1]
        if len(whole) < len(tail):
            lines.truncate(start + len(whole))
    return _parsed(whole.splitlines()[-1], f"the last line of {file}") if whole else None


def _is_stored(checkpoint: Signed, tenant: Tenant) -> bool:
    seal = Seal.objects.filter(number=checkpoint.head["number"]).first()
    return seal is not None and heads.of_seal(seal, tenant).hash == checkpoint.hash


def _parsed(line: bytes, where: str) -> Signed:
    try:
        found = heads.read(canonical.reload(line))
        if isinstance(found.head.get("number"), int):
            return found
    except (ValueError, RecursionError):
        pass
    raise Damaged(f"{where} is no checkpoint")


def _sync(folder: Path) -> None:
    # A new file is there after a power cut only when its folder was written, too.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
