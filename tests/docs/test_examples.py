"""Every example of the documents is executed, or its fence says why not."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetprompt.tenants.context import in_tenant
from fleetprompt.tenants.provisioning import create_tenant
from forums import content
from tests.docs.following import EXECUTED, Reader
from tests.docs.pages import DOCS, PAGES, ROOT, Block, blocks, name, prose
from tests.support import TESTER

IN_CHECKOUT = [*sorted((DOCS / "tutorial").glob("*.md")), DOCS / "guides/add-an-app.md"]
"""Pages that `test_tutorial` follows in a copy of the project."""
SHOWN = ("mermaid", "text", "json")


def followed(page: Path) -> list[Block]:
    """Return the blocks of a page that a reader follows."""
    return [
        block for block in blocks(page) if block.file or (block.language in EXECUTED and not block.note)
    ]


FOLLOWED = [page for page in PAGES if followed(page) and page not in IN_CHECKOUT]


@pytest.fixture
def harbor(database: None) -> None:
    """The tenant harbor of the tutorial, with a thread of three posts."""
    create_tenant("harbor", name="Harbor", domain="harbor.localhost")
    with in_tenant("harbor"):
        thread = content.create_thread(
            content.create_category("general", "General", actor=TESTER), "Welcome", actor=TESTER
        )
        for text in ("Ahoy", "Free watches!", "Fair winds"):
            content.create_post(thread, text, actor=TESTER, author_id="ann")


@pytest.fixture
def reader(harbor: None, tmp_path: Path) -> Iterator[Reader]:
    """A reader in an empty folder, at the end of the tutorial."""
    reader = Reader(tmp_path)
    [comments] = [block for block in blocks(IN_CHECKOUT[0]) if block.file == "comments.csv"]
    reader.follow(comments)
    yield reader
    reader.leave()


@pytest.mark.parametrize("page", FOLLOWED, ids=name)
def test_the_examples_of_a_page_work(page, reader):
    for block in followed(page):
        reader.follow(block)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_example_escapes(page):
    for block in blocks(page):
        kind, _, rest = block.note.partition(" ")
        if block.note.startswith("not run: "):
            assert len(block.note) > 20, f"{block.place}: say why"
        elif kind == "by":
            assert page.name in (ROOT / rest).read_text(), f"{block.place}: {rest} does not read this page"
        elif block.language == "json":
            json.loads(block.text)
        else:
            known = block.language in (*EXECUTED, *SHOWN) and not block.note
            assert block.file or known, f"{block.place}: nothing executes this block"
    for line in prose(page).splitlines():
        assert not line.startswith(("    $ ", "    python", "    make", "    manage")), f"{page}: {line}"
