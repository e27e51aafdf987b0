"""What is being worked on right now, for the lines of the logs: tenant, directive, attempt and so on."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

FIELDS = ("tenant", "request", "directive", "name", "attempt", "correlation", "trace")
"""Everything that can be told, in the order of the lines; a closed set, so that no payload slips in."""

_NOTHING: Mapping[str, str | int] = MappingProxyType({})
_current: ContextVar[Mapping[str, str | int]] = ContextVar("fleetprompt.telemetry", default=_NOTHING)


def current() -> Mapping[str, str | int]:
    """Return the fields that are known now."""
    return _current.get()


@contextmanager
def bound(**fields: str | int) -> Iterator[None]:
    """Add `fields` for a block; empty ones are left out.

    Raises:
        ValueError: one is not of `FIELDS`.
    """
    if unknown := fields.keys() - set(FIELDS):
        raise ValueError(f"expected fields of {', '.join(FIELDS)}; got {', '.join(sorted(unknown))}")
    before = _current.get()
    _current.set({**before, **{name: value for name, value in fields.items() if value != ""}})
    try:
        yield
    finally:
        # Not by its token, which only counts in the thread that made it: fixtures may end in another.
        _current.set(before)
