"""Journals of requesters outside the database: one JSON lines file each, with one writer."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

Line = dict[str, Any]
"""`do` (ask or operate) before something is tried, `did` after it was answered; `request` is its number.

Asking has `keys` and is answered with `answers`: a key, an id and whether it was new each. An
operation has its `name`, its directive's `id`, and is answered with `answer`: `done` or why not,
with `answers` when directives were requested. `ends` says when what a key asks for ends by itself.
"""


class Journal:
    """One requester's journal, continued where the requester was killed."""

    def __init__(self, path: Path) -> None:
        self.before = list(read(path))
        self._file: TextIO = path.open("a")
        # A line cut short by a kill must not run into the next one.
        self._file.write("\n")

    def write(self, **line: Any) -> None:
        """Add a line; it is the kernel's when this returns, so it survives the requester."""
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


def read(path: Path) -> Iterator[Line]:
    """Give the whole lines of a journal."""
    if not path.exists():
        return
    for text in path.read_text().splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        yield line


def next_request(lines: list[Line]) -> int:
    """Return the number of the request to continue with; an unanswered one is repeated."""
    if not lines:
        return 0
    last = lines[-1]
    return int(last["request"]) + (0 if last.get("do") == "ask" else 1)
