"""The project's documents, and what they are made of: fenced blocks, headings and links."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]
CODE = [
    file
    for package in ("directives", "fleetprompt", "forums", "signals", "tests")
    for file in sorted((ROOT / package).rglob("*.py"))
]

_FENCE = re.compile(r"^```(\w*) ?([^\n]*)\n(.*?)^```$", re.M | re.S)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Args:
        page: the document that it is in.
        line: its first line's number, from 1.
        language: the first word behind the fence.
        note: the rest of that line, such as `file=comments.csv` or `not run: needs systemd`.
        text: the lines between the fences.
    """

    page: Path
    line: int
    language: str
    note: str
    text: str

    @property
    def file(self) -> str:
        """The file that the reader is told to write; empty when there is none."""
        return self.note.removeprefix("file=") if self.note.startswith("file=") else ""

    @property
    def place(self) -> str:
        """The page and the line, for messages."""
        return f"{name(self.page)}:{self.line}"


def name(page: Path) -> str:
    """Return a page's path from the project's folder."""
    return page.relative_to(ROOT).as_posix() if page.is_relative_to(ROOT) else page.name


def blocks(page: Path) -> list[Block]:
    """Return a page's fenced blocks, in order."""
    text = page.read_text()
    return [
        Block(page, text.count("\n", 0, found.start()) + 1, *found.groups())
        for found in _FENCE.finditer(text)
    ]


def prose(page: Path) -> str:
    """Return a page's text without its fenced blocks."""
    return _FENCE.sub("", page.read_text())


def links(page: Path) -> Iterator[str]:
    """Give the targets of a page's links."""
    text = re.sub(r"`[^`]*`", "", prose(page))
    yield from (found[1] for found in _LINK.finditer(text))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as code forges make them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
