"""Folder in which the processes of one machine keep their metrics, in two files each.

Counters must not decrease when a process ends, so the files of ended processes are added up in two
common files, and removed. The files of a process are named after its id and a random word: ids are
reused.
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
INITIAL_BYTES = 512 * 1024
"""Size of a new file: some two thousand series."""
_ENDED = "0-gone"
_BYTES_PER_VALUE = 32
"""An upper bound for a value in a file besides the bytes of its key."""


def prepare(folder: Path) -> tuple[str, list[Path]]:
    """Make the files of this process, and fold those of ended ones; return their common word, and them.

    The files are filled with zeros before they are mapped: on a full disk this raises an error and leaves
    no file, whereas writing to a hole in a mapped file would kill the process.

    Raises:
        OSError: the folder cannot be made or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(BlockingIOError), locked(folder, wait=False):
        fold(folder)
    word = f"{os.getpid()}-{uuid4().hex[:8]}"
    paths = [folder / f"{kind}_{word}.db" for kind in KINDS]
    for path in paths:
        _fill(path, INITIAL_BYTES)
    return word, paths


def files(folder: Path) -> list[Path]:
    """Return the readable files of running and ended processes.

    A damaged file, from a full disk or a crash, is logged once and left out.
    """
    return _readable([path for kind in KINDS for path in folder.glob(f"{kind}_*.db")])


@contextmanager
def locked(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Keep other processes and threads from folding for a block.

    Raises:
        BlockingIOError: another process or thread folds, and `wait` is False.
    """
    with (folder / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield


def fold(folder: Path) -> None:
    """Add up the files of ended processes; the caller holds the lock."""
    for kind in KINDS:
        gone = [path for path in folder.glob(f"{kind}_*-*.db") if _is_gone(path) and path.is_file()]
        if gone:
            _add(folder / f"{kind}_{_ENDED}.db", gone)


def _is_gone(path: Path) -> bool:
    number = path.stem.partition("_")[2].partition("-")[0]
    return number.isdigit() and number != "0" and not psutil.pid_exists(int(number))


def _readable(paths: Sequence[Path]) -> list[Path]:
    found = []
    for path in paths:
        try:
            # Reading all together would fail for all.
            MultiProcessCollector.merge([str(path)])
        except Exception as error:
            errors.say_once(f"metrics: {path} is damaged and", error)
        else:
            found.append(path)
    return found


def _fill(path: Path, size: int) -> None:
    """Make a file of zeros; leave none after an error."""
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
    _fill(new, max(INITIAL_BYTES, sum(len(key.encode()) + _BYTES_PER_VALUE for key in sums)))
    file = MmapedDict(str(new))
    for key, value in sums.items():
        file.write_value(key, value, 0.0)
    file.close()
    new.replace(target)
    for path in gone:
        path.unlink(missing_ok=True)
