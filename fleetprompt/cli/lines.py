"""Reads a text file line by line in bounded memory."""

from typing import IO, Generic, TypeVar

MAX_LINE_CHARACTERS = 1_000_000
"""The longest line; the largest payload and the longest post are a tenth of it."""
_SKIP_CHARACTERS = 64 * 1024

TextT = TypeVar("TextT", str, bytes)


class LongLine(ValueError):
    """A line is longer than `MAX_LINE_CHARACTERS`; the next one can be read."""

    def __init__(self) -> None:
        super().__init__(f"expected lines of at most {MAX_LINE_CHARACTERS:,} characters")


class Lines(Generic[TextT]):
    """An iterator over a file's lines that refuses a long one and continues after it."""

    def __init__(self, file: IO[TextT]) -> None:
        self._file: IO[TextT] = file

    def __iter__(self) -> "Lines[TextT]":
        return self

    def __next__(self) -> TextT:
        """Return the next line, its end included.

        Raises:
            LongLine: it is too long; it was skipped.
        """
        line: TextT = self._file.readline(MAX_LINE_CHARACTERS + 1)
        if not line:
            raise StopIteration
        if len(line) <= MAX_LINE_CHARACTERS or _is_whole(line):
            return line
        while (piece := self._file.readline(_SKIP_CHARACTERS)) and not _is_whole(piece):
            pass
        raise LongLine


def _is_whole(line: str | bytes) -> bool:
    return line.endswith(("\n", "\r")) if isinstance(line, str) else line.endswith(b"\n")
