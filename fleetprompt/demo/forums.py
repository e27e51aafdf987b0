"""Sample forums: the two communities, and what a moderator would say of their posts."""

from enum import StrEnum
from pathlib import Path
from typing import NamedTuple


class Mark(StrEnum):
    """A moderator's opinion of a post: the first character of its line in the samples."""

    FINE = " "
    SPAM = "!"
    MISJUDGED = "?"
    """Fine, although it looks like spam."""
    PRIVATE = "#"
    """It gives away where a member lives."""


class Sample(NamedTuple):
    """One post."""

    mark: Mark
    author: str
    text: str


class Community(NamedTuple):
    """A tenant with one thread, whose posts are in the text file `<slug>.txt`."""

    slug: str
    name: str
    category: str
    title: str

    @property
    def posts(self) -> list[Sample]:
        """The posts in their order."""
        lines = Path(__file__).with_name(f"{self.slug}.txt").read_text(encoding="utf-8").splitlines()
        parts = [(line[0], *line[2:].split(": ", 1)) for line in lines]
        return [Sample(Mark(mark), author, text) for mark, author, text in parts]


HARBOR = Community("harbor", "Harbor Model Boats", "Workbench", "Which varnish for a cedar deck?")
ORCHARD = Community("orchard", "Orchard Growers", "Trees", "Is autumn grafting a mistake?")
