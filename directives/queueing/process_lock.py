"""Process lock: a lock between processes that the kernel releases when its holder is killed."""

import errno
import fcntl
import os
import tempfile
import time
from typing import Any


class ProcessLock:
    """One process at a time, however it ends.

    The locks of `multiprocessing` are semaphores: what a killed process held is never released. This
    one is a record lock on a file without a name (`fcntl`, POSIX.1), which ends with its holder.
    Processes share it by being forked, as the workers of a cluster are. It keeps processes apart, not
    the threads of one, and a process may take it again while it holds it.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the lock is there
        self._holder = 0
        self._times = 0

    def acquire(self, block: bool = True) -> bool:
        """Take the lock; return False when another process has it and `block` is False."""
        if self._holder != os.getpid():
            if not self._lock(block):
                return False
            self._holder, self._times = os.getpid(), 0
        self._times += 1
        return True

    def release(self) -> None:
        """Give the lock back, if this was the last of the times it was taken.

        Raises:
            ValueError: this process does not hold it.
        """
        if self._holder != os.getpid():
            raise ValueError("the lock is not held by this process")
        self._times -= 1
        if not self._times:
            self._holder = 0
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exception: Any) -> None:
        self.release()

    def _lock(self, block: bool) -> bool:
        while True:
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | (0 if block else fcntl.LOCK_NB))
                return True
            except (BlockingIOError, PermissionError):
                return False
            except OSError as error:
                # The kernel sees processes, not threads: two that wait for each other with different
                # threads look like a deadlock to it, and are none.
                if error.errno != errno.EDEADLK:
                    raise
                time.sleep(0.001)
