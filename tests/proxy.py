"""A proxy in front of the tests' PostgreSQL that loses an answer, as a pooler or a network can."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.support import database_url

_READY = b"Z\x00\x00\x00\x05"
"""The beginning of ReadyForQuery, which ends the answer to a message (PostgreSQL's manual, 54.7)."""
_BYTES = 1 << 16


class Proxy:
    """Passes everything on, but once it is armed the answer to the first message that contains a text.

    That client is hung up on, and what it asked for is carried out by the server all the same.

    Args:
        text: what the message contains.
        at_once: hang up as soon as the message is sent; by default when it is answered.
    """

    def __init__(self, text: bytes, *, at_once: bool = False) -> None:
        self._text, self._at_once = text, at_once
        self.armed = threading.Event()
        self.lost = threading.Event()
        """Set when the message was passed on."""
        url = database_url()
        [folder] = re.findall(r"@(%2F[^/]*)/", url)
        self._server = f"{folder.replace('%2F', '/')}/.s.PGSQL.5432"
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.url = url.replace(f"@{folder}/", f"@127.0.0.1:{port}/")

    def serve(self) -> None:
        """Take connections until `close`."""
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._server)
                loses = threading.Event()
                for run in (self._ask, self._answer):
                    threading.Thread(target=run, args=(client, server, loses), daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _ask(self, client: socket.socket, server: socket.socket, loses: threading.Event) -> None:
        with suppress(OSError):
            while data := client.recv(_BYTES):
                if self._text in data and self.armed.is_set() and not self.lost.is_set():
                    loses.set()
                    self.lost.set()
                    server.sendall(data)
                    if self._at_once:
                        _hang_up(client)
                    return
                server.sendall(data)
        _hang_up(server)

    def _answer(self, client: socket.socket, server: socket.socket, loses: threading.Event) -> None:
        with suppress(OSError):
            while data := server.recv(_BYTES):
                if not loses.is_set():
                    client.sendall(data)
                elif _READY in data:
                    break
        _hang_up(client)
        _hang_up(server)


def _hang_up(line: socket.socket) -> None:
    with suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)


@contextmanager
def losing_answer(text: bytes, *, at_once: bool = False) -> Iterator[Proxy]:
    """Give a `Proxy` that works for a block; it is armed by its event `armed`."""
    proxy = Proxy(text, at_once=at_once)
    thread = threading.Thread(target=proxy.serve)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join()
