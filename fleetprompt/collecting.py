"""Keeps Python's collector of cycles away from work that makes very many objects and no cycles."""

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_inside = 0
_was_enabled = True


@contextmanager
def no_collecting() -> Iterator[None]:
    """Keep the collector away for a block; threads may be inside at the same time.

    A batch of thousands is all alive until its end; looking through it again and again takes half of
    the time. The last one out sets the collector as the first one found it.
    """
    global _inside, _was_enabled
    entered = False
    try:
        with _lock:
            if not _inside:
                _was_enabled = gc.isenabled()
                gc.disable()
            _inside += 1
            entered = True
        yield
    finally:
        with _lock:
            _inside -= entered
            if entered and not _inside and _was_enabled:
                gc.enable()
