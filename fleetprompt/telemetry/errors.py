"""What may be told of an exception outside the database: its class, its code and its place.

Its message may quote what a user wrote, and so may those of its causes.
"""

import errno
import logging
import traceback
from itertools import pairwise

logger = logging.getLogger(__name__)

DEEPEST = 10
"""How many causes of causes are told."""

_said: set[str] = set()


def brief(error: BaseException) -> str:
    """Return the exception's class, with the SQLSTATE or the system's name of the error if it has one."""
    code = getattr(error.__cause__, "sqlstate", None) or getattr(error, "sqlstate", None)
    if code is None and isinstance(error, OSError) and isinstance(error.errno, int):
        code = errno.errorcode.get(error.errno)
    return f"{type(error).__name__} [{code}]" if code else type(error).__name__


def stack(error: BaseException) -> str:
    """Return the traceback of the exception, after those of what led to it; all without messages."""
    chain = [error]
    while len(chain) < DEEPEST and (earlier := _cause(chain[-1])) and _is_new(earlier, chain):
        chain.append(earlier)
    parts = [_one(chain[-1])]
    for later, earlier in reversed(list(pairwise(chain))):
        how = "which directly led to" if later.__cause__ is earlier else "while it was handled"
        parts.append(f"{how}:\n{_one(later)}")
    return "\n".join(parts)


def say_once(what: str, error: BaseException) -> None:
    """Log that a part of the telemetry does not work, once in the life of the process."""
    if what not in _said:
        _said.add(what)
        logger.warning("%s left out from now on: %s", what, error)


def _cause(error: BaseException) -> BaseException | None:
    return error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _is_new(error: BaseException, chain: list[BaseException]) -> bool:
    # By identity: an exception may not be comparable.
    return all(error is not known for known in chain)


def _one(error: BaseException) -> str:
    return "".join(traceback.format_tb(error.__traceback__)) + brief(error)
