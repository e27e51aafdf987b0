"""What is asked of the database by somebody who cannot wait: answered, or given up, within seconds."""

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

# For as long nobody else is sent after one who does not come back.
_LEFT_ALONE = 30
# libpq takes no less than two seconds.
_CONNECT_SECONDS = 2


class Question(Generic[T]):
    """Something to ask the database; whoever asks while another one waits gets the same answer.

    However many ask, one thread waits for a database that fell silent.
    """

    def __init__(self, name: str, read: Callable[[], Iterable[tuple[str, T]]], *, seconds: float) -> None:
        """Keep what to ask.

        Args:
            name: of the thread that asks.
            read: gives the parts of the answer by name, one after the other. It is called in that
                thread, which has a connection of its own, in the public schema.
            seconds: how long all parts together may take.
        """
        self._name = name
        self._read = read
        self._seconds = seconds
        self._current: _Asking[T] | None = None
        self._lock = threading.Lock()

    def ask(self) -> dict[str, T]:
        """Return the parts that were answered in time, by name.

        Raises:
            Exception: what `read` raised.
        """
        with self._lock:
            if self._current is None or self._current.is_over():
                self._current = _Asking(self._name, self._read, self._seconds)
                self._current.start()
            current = self._current
        return current.wait()


class _Asking(threading.Thread, Generic[T]):
    """Asks for one part after the other, on a connection of its own; others wait no longer than allowed.

    PostgreSQL's client waits for a server that fell silent without any limit, so somebody else has to.
    """

    def __init__(self, name: str, read: Callable[[], Iterable[tuple[str, T]]], seconds: float) -> None:
        super().__init__(name=name, daemon=True)
        self._read = read
        self._found: dict[str, T] = {}
        self._error: Exception | None = None
        self._ends = time.monotonic() + seconds
        self._connection: Any = None

    def run(self) -> None:
        """Ask, until something does not answer."""
        try:
            self._connect()
            for name, part in self._read():
                self._found[name] = part
        except Exception as error:
            self._error = error
        finally:
            connections.close_all()

    def is_over(self) -> bool:
        """Return whether it has ended, or is to be left alone: a broker may keep it waiting for long."""
        return not self.is_alive() or time.monotonic() > self._ends + _LEFT_ALONE

    def wait(self) -> dict[str, T]:
        """Wait for the end, or until the time is over; then end what is still waiting."""
        self.join(max(self._ends - time.monotonic(), 0))
        if self.is_alive():
            self._hang_up()
        elif self._error is not None:
            raise self._error
        return dict(self._found)

    def _connect(self) -> None:
        own = connections.create_connection("default")
        options = {"connect_timeout": _CONNECT_SECONDS, **own.settings_dict.get("OPTIONS", {})}
        own.settings_dict = {**own.settings_dict, "OPTIONS": options}
        connections["default"] = self._connection = own

    def _hang_up(self) -> None:
        """Close the socket below the connection, so that the thread that waits at it goes on."""
        # It may have come to its end, or not to its beginning, in this very moment.
        with (
            suppress(AttributeError, OSError, psycopg.Error),
            socket.socket(fileno=os.dup(self._connection.connection.fileno())) as line,
        ):
            line.shutdown(socket.SHUT_RDWR)
