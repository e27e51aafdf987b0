"""Reads a text file line by line in bounded memory, however long its lines are."""

from typing import IO, Generic, TypeVar

LINE_LENGTH = 1_000_000
"""Longer lines are refused: the largest payload, and the longest post, are a tenth of it."""
_PIECE = 64 * 1024

TextT = TypeVar("TextT", str, bytes)


class LongLine(ValueError):
    """A line is longer than `LINE_LENGTH`; the next one can be read."""

    def __init__(self) -> None:
        super().__init__(f"expected lines of at most {LINE_LENGTH:,} characters")


class Lines(Generic[TextT]):
    """An iterator over a file's lines which refuses a long one and goes on behind it."""

    def __init__(self, file: IO[TextT]) -> None:
        self._file: IO[TextT] = file

    def __iter__(self) -> "Lines[TextT]":
        return self

    def __next__(self) -> TextT:
        """Return the next line, its end included.

        Raises:
            LongLine: it is too long; it was skipped.
        """
        line: TextT = self._file.readline(LINE_LENGTH + 1)
        if not line:
            raise StopIteration
        if len(line) <= LINE_LENGTH or _is_whole(line):
            return line
        while (piece := self._file.readline(_PIECE)) and not _is_whole(piece):
            pass
        raise LongLine


def _is_whole(line: str | bytes) -> bool:
    return line.endswith(("\n", "\r")) if isinstance(line, str) else line.endswith(b"\n")
