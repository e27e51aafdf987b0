"""The folder in which the processes of one machine keep their metrics: two files for each process.

Counters must not go back when a process ends, so the files of processes that are gone are added up in
two files of nobody's, and removed. Each process names its files after its number and a random word:
when the system gives the number to another one, that begins new files.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import psutil
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

from fleetprompt.telemetry import errors

KINDS = ("counter", "histogram")
SIZE = 512 * 1024
"""Bytes that each file begins with: some two thousand series."""
_NOBODY = "0-gone"
_BYTES_PER_VALUE = 32
"""More than a value takes in a file besides the bytes of its key."""


def prepare(folder: Path) -> tuple[str, list[Path]]:
    """Make the files of this process, and clean up after others; return what their names share, and them.

    The files are filled with zeros before they are used as memory: on a disk that is full this raises,
    and leaves none, where writing to a hole in a file would kill the process.

    Raises:
        OSError: the folder cannot be made or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(BlockingIOError), locked(folder, wait=False):
        fold(folder)
    word = f"{os.getpid()}-{uuid4().hex[:8]}"
    paths = [folder / f"{kind}_{word}.db" for kind in KINDS]
    for path in paths:
        _fill(path, SIZE)
    return word, paths


def files(folder: Path) -> list[Path]:
    """Return the files that can be read, of living processes and of all that are gone.

    One that cannot is named in the log, once, and left out by itself: it is the trace of a full disk or
    of a crash.
    """
    return _readable([path for kind in KINDS for path in folder.glob(f"{kind}_*.db")])


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
        gone = [path for path in folder.glob(f"{kind}_*-*.db") if _is_gone(path) and path.is_file()]
        if gone:
            _add(folder / f"{kind}_{_NOBODY}.db", gone)


def _is_gone(path: Path) -> bool:
    number = path.stem.partition("_")[2].partition("-")[0]
    return number.isdigit() and number != "0" and not psutil.pid_exists(int(number))


def _readable(paths: Sequence[Path]) -> list[Path]:
    found = []
    for path in paths:
        try:
            # As it will be read with the others, where an error would be one for all.
            MultiProcessCollector.merge([str(path)])
        except Exception as error:
            errors.say_once(f"metrics: {path} is damaged and", error)
        else:
            found.append(path)
    return found


def _fill(path: Path, size: int) -> None:
    """Make a file of zeros, or none."""
    try:
        path.write_bytes(bytes(size))
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _add(target: Path, gone: Sequence[Path]) -> None:
    sums: dict[str, float] = {}
    for path in _readable([target, *gone] if target.exists() else gone):
        for key, value, _, _ in MmapedDict.read_all_values_from_file(str(path)):
            sums[key] = sums.get(key, 0.0) + value
    new = target.with_suffix(".new")
    _fill(new, max(SIZE, sum(len(key.encode()) + _BYTES_PER_VALUE for key in sums)))
    file = MmapedDict(str(new))
    for key, value in sums.items():
        file.write_value(key, value, 0.0)
    file.close()
    new.replace(target)
    for path in gone:
        path.unlink(missing_ok=True)
