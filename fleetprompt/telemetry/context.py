"""Context of the current work for log lines: tenant, directive, attempt and others."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

FIELDS = ("tenant", "request", "directive", "name", "attempt", "correlation", "trace")
"""All fields in their order in the lines; a closed set, so that no payload is logged."""

_NOTHING: Mapping[str, str | int] = MappingProxyType({})
_current: ContextVar[Mapping[str, str | int]] = ContextVar("fleetprompt.telemetry", default=_NOTHING)


def current() -> Mapping[str, str | int]:
    """Return the current fields."""
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
        # Without its token, which is valid in its own thread only: fixtures may end in another.
        _current.set(before)
