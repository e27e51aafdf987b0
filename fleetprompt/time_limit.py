"""Bounds how long a block may take, and keeps what it raises from ending the process."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

ALARM_GRACE_SECONDS = 0.5
"""How much later than the limit the alarm comes.

The database gives up first: a cancelled statement leaves the connection usable, an exception in the middle
of a statement may not.
"""


class TimeLimitExceeded(BaseException):
    """A block ran over its time limit. Not an `Exception`, so that the block cannot swallow it."""


def _as_runtime_error(error: BaseException) -> Exception:
    return RuntimeError(f"{type(error).__name__} is no Exception")


@contextmanager
def time_limit(
    seconds: float, convert: Callable[[BaseException], Exception] = _as_runtime_error
) -> Iterator[None]:
    """Stop the block when it takes longer than `seconds`, and let nothing out that ends the process.

    In the main thread an alarm interrupts the block, and an outer alarm (the queue worker's) is set again
    with the time that it has left. In other threads Python delivers no alarms: there the block ends by
    itself, or by the database's limits, and the error comes afterwards.

    An exception that looks like the queue's own time-out is the block's own: the outer alarm is off.

    Args:
        convert: makes an `Exception` of another `BaseException` that the block raises.

    Raises:
        TimeLimitExceeded: the block took too long.
        Exception: what `convert` gave.
        KeyboardInterrupt: the process was interrupted with Ctrl-C.
    """
    started = time.monotonic()
    with _alarm(seconds + ALARM_GRACE_SECONDS):
        try:
            yield
        except (Exception, TimeLimitExceeded):
            raise
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and _hears_ctrl_c():
                raise
            raise convert(error) from error
    elapsed = time.monotonic() - started
    if elapsed > seconds:
        raise TimeLimitExceeded(f"took {elapsed:.1f} s; the limit is {seconds:g} s")


def _hears_ctrl_c() -> bool:
    """Return whether Ctrl-C would be raised here; the workers of a cluster ignore it."""
    return (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
    )


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise TimeLimitExceeded(f"interrupted {seconds:.1f} s after its start")

    started = time.monotonic()
    outer_handler = signal.signal(signal.SIGALRM, interrupt)
    outer_left, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, outer_handler)
        if outer_left:
            left = outer_left - (time.monotonic() - started)
            signal.setitimer(signal.ITIMER_REAL, max(left, 0.001))
