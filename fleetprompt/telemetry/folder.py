"""The folder in which the processes of one machine keep their metrics: two files for each process.

Counters must not go back when a process ends, so the files of processes that are gone are added up in
two files of nobody's, and removed. Each process names its files after its number and a random word:
when the system gives the number to another one, that begins new files.
"""

import fcntl
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import psutil
from prometheus_client.mmap_dict import MmapedDict

from fleetprompt.telemetry import errors

KINDS = ("counter", "histogram")
SIZE = 512 * 1024
"""Bytes that each file begins with: some two thousand series."""
_NOBODY = "0-gone"


def prepare(folder: Path) -> str:
    """Make the files of this process, and clean up after others; return what tells its files apart.

    The files are filled with zeros before they are used as memory: on a disk that is full this raises,
    where writing to a hole in a file would kill the process.

    Raises:
        OSError: the folder cannot be made or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(BlockingIOError), locked(folder, wait=False):
        fold(folder)
    word = f"{os.getpid()}-{uuid4().hex[:8]}"
    for kind in KINDS:
        (folder / f"{kind}_{word}.db").write_bytes(bytes(SIZE))
    return word


@contextmanager
def locked(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Keep other processes and threads from folding for a block.

    Raises:
        BlockingIOError: somebody else does, and this one would not wait.
    """
    with (folder / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield


def fold(folder: Path) -> None:
    """Add up the files of processes that are gone; the caller holds the lock."""
    for kind in KINDS:
        gone = [path for path in folder.glob(f"{kind}_*-*.db") if _is_gone(path)]
        if gone:
            _add(folder / f"{kind}_{_NOBODY}.db", gone)


def _is_gone(path: Path) -> bool:
    number = path.stem.partition("_")[2].partition("-")[0]
    return number.isdigit() and number != "0" and not psutil.pid_exists(int(number))


def _add(target: Path, gone: Iterable[Path]) -> None:
    sums: dict[str, float] = {}
    for path in (target, *gone):
        try:
            values = list(MmapedDict.read_all_values_from_file(str(path)))
        except FileNotFoundError:
            continue
        except (OSError, RuntimeError, ValueError, struct.error) as error:
            # As a crash of the machine leaves it; nothing could be read from here any more otherwise.
            errors.say_once(f"metrics: {path} is damaged and", error)
            continue
        for key, value, _, _ in values:
            sums[key] = sums.get(key, 0.0) + value
    new = target.with_suffix(".new")
    new.unlink(missing_ok=True)
    file = MmapedDict(str(new))
    for key, value in sums.items():
        file.write_value(key, value, 0.0)
    file.close()
    new.replace(target)
    for path in gone:
        path.unlink(missing_ok=True)
