"""How long one attempt may take: an alarm in the worker, and limits in the database session."""

import signal
import threading
import time
from asyncio import CancelledError
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from django.db import connection

from directives.errors import DirectiveError, Retry
from fleetprompt.postgres.idle_in_transaction import limiting_idle_in_transaction, milliseconds
from fleetprompt.postgres.statements import Statement

# The database gives up first, because a cancelled statement leaves the connection usable and an
# exception in the middle of one may not.
ALARM_GRACE = 0.5


class TimeLimitExceeded(BaseException):
    """The handler ran over its time limit. Not an `Exception`, so that no handler swallows it."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Stop the block when it takes longer than `seconds`, and let nothing out that ends the process.

    In the main thread an alarm interrupts whatever runs, and an outer alarm (the queue worker's)
    is put back with the time it has left. In other threads Python delivers no alarms: there the
    block ends by itself, or by the database's limits, and is refused afterwards.

    The queue's own time-out is such an outer alarm: what looks like it inside the block was raised by
    the block itself.

    Raises:
        TimeLimitExceeded: the time is over.
        Retry: the block was cancelled.
        DirectiveError: it raised something else that is no `Exception`.
        KeyboardInterrupt: somebody pressed Ctrl-C.
    """
    started = time.monotonic()
    with _alarm(seconds + ALARM_GRACE):
        try:
            yield
        except (Exception, TimeLimitExceeded):
            raise
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and _hears_ctrl_c():
                raise
            raise _as_exception(error) from error
    elapsed = time.monotonic() - started
    if elapsed > seconds:
        raise TimeLimitExceeded(f"took {elapsed:.1f} s; the limit is {seconds:g} s")


def _as_exception(error: BaseException) -> Exception:
    if isinstance(error, CancelledError):
        return Retry(f"the handler was cancelled: {type(error).__name__}")
    if isinstance(error, SystemExit):
        return DirectiveError("the handler tried to end its worker")
    return DirectiveError(f"the handler raised {type(error).__name__}, which is no Exception")


def _hears_ctrl_c() -> bool:
    """Return whether Ctrl-C would be raised here; the workers of a cluster ignore it."""
    return (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
    )


def limit_session(seconds: float) -> None:
    """Bound each statement of the current transaction to `seconds`, and its idle time to a bit more."""
    with connection.cursor() as cursor:
        cursor.execute(*limiting_session(seconds))


def limiting_session(seconds: float, **more: str) -> Statement:
    """Return the statement of `limit_session`, to be sent together with others.

    Args:
        more: other settings of PostgreSQL for the transaction, in the same statement.
    """
    return limiting_idle_in_transaction(seconds, statement_timeout=milliseconds(seconds), **more)


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
