"""`python -m tests.docs.links`: find dead links, dead names of documents in code, unreachable pages."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.docs.pages import CODE, DOCS, PAGES, ROOT, anchors, links, name, prose

say = print
_DOCUMENT = re.compile(r"\b(docs/[\w/-]+\.md)(?:#([\w-]+))?")


def main() -> int:
    """Print what is wrong with the links; return 1 when anything is."""
    wrong = [*broken(PAGES), *unknown(CODE), *unreachable()]
    for sentence in wrong:
        say(sentence)
    return int(bool(wrong))


def broken(pages: list[Path]) -> Iterator[str]:
    """Name the links to files and anchors that do not exist."""
    for page in pages:
        for link in links(page):
            target, _, anchor = link.partition("#")
            if "://" in target:
                continue
            file = (page.parent / target).resolve() if target else page
            if not file.exists():
                yield f"{name(page)}: there is no {target}"
            elif anchor and anchor not in anchors(file):
                yield f"{name(page)}: {name(file)} has no heading #{anchor}"


def unknown(files: list[Path]) -> Iterator[str]:
    """Name the dead names of documents and anchors in comments, docstrings and texts of code."""
    for file in files:
        for number, line in enumerate(file.read_text().splitlines(), 1):
            for target, anchor in _DOCUMENT.findall(line):
                if not (ROOT / target).exists():
                    yield f"{name(file)}:{number}: there is no {target}"
                elif anchor and anchor not in anchors(ROOT / target):
                    yield f"{name(file)}:{number}: {target} has no heading #{anchor}"


def unreachable(folder: Path = DOCS) -> Iterator[str]:
    """Name the pages that the folder's index does not lead to, and those that do not lead back and on."""
    index = folder / "index.md"
    reached, unread = {index}, [index]
    while unread:
        found = _linked(unread.pop()) - reached
        reached |= found
        unread += found
    for page in sorted(set(folder.rglob("*.md")) - {index}):
        lines = prose(page).strip().splitlines()
        if page not in reached:
            yield f"{name(page)}: no path of links leads to it from {name(index)}"
        if "index.md" not in lines[0]:
            yield f"{name(page)}: its first line does not link back to an index"
        if ".md" not in lines[-1]:
            yield f"{name(page)}: its last line does not link to another page"


def _linked(page: Path) -> set[Path]:
    targets = {
        (page.parent / link.partition("#")[0]).resolve() for link in links(page) if "://" not in link
    }
    return {target for target in targets if target.suffix == ".md" and target.exists()}


if __name__ == "__main__":
    sys.exit(main())
