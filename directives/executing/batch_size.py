"""How fast directives go, as this process has seen it last: who may share a commit, how many fit a turn."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

GROUP = 0.1
"""Seconds after which a group of directives commits: for as long it may hold everybody's locks."""
_QUICK = GROUP / 4
_FIRST = 20

_seconds: dict[str, float] = {}
_batch = _FIRST


@contextmanager
def timing(name: str, number: int = 1) -> Iterator[None]:
    """Take the time of an execution of `number` directives with that name."""
    began = time.monotonic()
    try:
        yield
    finally:
        _seconds[name] = (time.monotonic() - began) / number


def is_quick(name: str) -> bool:
    """Return whether the last execution took a small part of `GROUP`; False when none is known."""
    return _seconds.get(name, math.inf) <= _QUICK


def batch() -> int:
    """Return how many directives the next claim should take, so that they fit into a turn."""
    return min(_batch, settings.DIRECTIVES_CLAIM_LIMIT)


def worked_through(number: int, seconds: float) -> None:
    """Learn from a claim of `number` directives that took `seconds`; what fits doubles at most."""
    global _batch
    if not number:
        return
    fitting = math.floor(number * settings.DIRECTIVES_TIME_SLICE_SECONDS / max(seconds, 1e-6))
    if fitting < _batch or number >= batch():
        _batch = max(1, min(fitting, 2 * batch()))


def forget() -> None:
    """Begin to learn anew."""
    global _batch
    _seconds.clear()
    _batch = _FIRST
