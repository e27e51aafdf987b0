"""Exceptions as logs and traces may show them: class, code and traceback.

Their messages, and those of their causes, may quote what a user wrote.
"""

import errno
import logging
import traceback
from itertools import pairwise

logger = logging.getLogger(__name__)

MAX_CAUSES = 10
"""The length of a chain of causes that is shown."""

_said: set[str] = set()


def brief(error: BaseException) -> str:
    """Return the exception's class, with the SQLSTATE or the system's name of the error if it has one."""
    code = getattr(error.__cause__, "sqlstate", None) or getattr(error, "sqlstate", None)
    if code is None and isinstance(error, OSError) and isinstance(error.errno, int):
        code = errno.errorcode.get(error.errno)
    return f"{type(error).__name__} [{code}]" if code else type(error).__name__


def stack(error: BaseException) -> str:
    """Return the tracebacks of the exception's causes and its own, without messages."""
    chain = [error]
    # By identity: exceptions may define `__eq__`.
    while len(chain) < MAX_CAUSES and (earlier := _cause(chain[-1])) and id(earlier) not in map(id, chain):
        chain.append(earlier)
    parts = [_one(chain[-1])]
    for later, earlier in reversed(list(pairwise(chain))):
        how = "which directly led to" if later.__cause__ is earlier else "while it was handled"
        parts.append(f"{how}:\n{_one(later)}")
    return "\n".join(parts)


def say_once(what: str, error: BaseException) -> None:
    """Log once in a process that a part of the telemetry does not work."""
    if what not in _said:
        _said.add(what)
        logger.warning("%s left out from now on: %s", what, error)


def _cause(error: BaseException) -> BaseException | None:
    return error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _one(error: BaseException) -> str:
    return "".join(traceback.format_tb(error.__traceback__)) + brief(error)
