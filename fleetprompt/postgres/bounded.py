"""Questions to the database with a time limit, for callers that cannot wait."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Generic, TypeVar

import psycopg
from django.db import connections

T = TypeVar("T")

_ABANDON_SECONDS = 30
"""After the time limit, for how long no second thread is started beside one that still waits."""
_CONNECT_SECONDS = 2
"""The least that libpq accepts."""


class Question(Generic[T]):
    """A question to the database; concurrent callers share one answer.

    One thread waits for a database that does not answer, however many callers there are.
    """

    def __init__(self, name: str, read: Callable[[], Iterable[tuple[str, T]]], *, seconds: float) -> None:
        """Define the question.

        Args:
            name: of the thread.
            read: yields the parts of the answer by name. It runs in that thread, with a connection of
                its own, in the public schema.
            seconds: the time limit for all parts together.
        """
        self.name, self.read, self.seconds = name, read, seconds
        self._current: _Asking[T] | None = None
        self._lock = threading.Lock()

    def ask(self) -> dict[str, T]:
        """Return the parts that were answered in time, by name; raise what `read` raised."""
        with self._lock:
            if self._current is None or self._current.is_over():
                self._current = _Asking(self)
                self._current.start()
            current = self._current
        return current.wait()


class _Asking(threading.Thread, Generic[T]):
    """Reads one part after the other, on a connection of its own; callers wait until the time limit.

    libpq waits without limit for a server that does not answer, so the time is measured in the callers.
    """

    def __init__(self, question: Question[T]) -> None:
        super().__init__(name=question.name, daemon=True)
        self._read = question.read
        self._found: dict[str, T] = {}
        self._error: Exception | None = None
        self._ends = time.monotonic() + question.seconds
        self._connection: Any = None

    def run(self) -> None:
        """Read until something does not answer."""
        try:
            own = connections.create_connection("default")
            options = {"connect_timeout": _CONNECT_SECONDS, **own.settings_dict.get("OPTIONS", {})}
            own.settings_dict = {**own.settings_dict, "OPTIONS": options}
            connections["default"] = self._connection = own
            for name, part in self._read():
                self._found[name] = part
        except Exception as error:
            self._error = error
        finally:
            connections.close_all()

    def is_over(self) -> bool:
        """Return whether it has ended, or is abandoned: a broker may keep it waiting for long."""
        return not self.is_alive() or time.monotonic() > self._ends + _ABANDON_SECONDS

    def wait(self) -> dict[str, T]:
        """Return the parts at the end or at the time limit; then break a connection that still waits."""
        self.join(max(self._ends - time.monotonic(), 0))
        if self.is_alive():
            # The connection may be closed, or not open yet, at this moment.
            with (
                suppress(AttributeError, OSError, psycopg.Error),
                socket.socket(fileno=os.dup(self._connection.connection.fileno())) as line,
            ):
                line.shutdown(socket.SHUT_RDWR)
        elif self._error is not None:
            raise self._error
        return dict(self._found)
