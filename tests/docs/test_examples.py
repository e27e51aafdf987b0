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
MIN_REASON_LENGTH = 15


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
    assert list(escaping(page)) == []


@pytest.mark.parametrize(
    "block",
    [
        "```python by tests/docs/test_tutorial.py\nprint()\n```\n",
        "```sh\nrm file\n```\n",
        "```console not run: why\n$ make\n```\n",
        "```json\n{broken}\n```\n",
        "```yaml later\na: 1\n```\n",
        "Text:\n\n    $ make\n",
    ],
)
def test_an_example_that_nothing_executes_is_found(block, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"# Page\n\n{block}")
    assert len(list(escaping(page))) == 1


def test_an_example_that_is_wrong_is_found(reader, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "```console\n$ python manage.py tenant list\nnowhere\n```\n\n```python\nassert False\n```\n"
    )
    for block in followed(page):
        with pytest.raises(AssertionError):
            reader.follow(block)


def escaping(page: Path) -> Iterator[str]:
    """Name the examples of a page that nothing executes, without a reason."""
    for block in blocks(page):
        kind, _, rest = block.note.partition(" ")
        if block.file or (block.language in (*EXECUTED, "mermaid", "text") and not block.note):
            continue
        if block.language == "json" and not block.note:
            try:
                json.loads(block.text)
            except ValueError as error:
                yield f"{block.place}: {error}"
        elif kind == "by":
            if page.name not in (ROOT / rest).read_text():
                yield f"{block.place}: {rest} does not read this page"
        elif not block.note.startswith("not run: ") or len(rest) < MIN_REASON_LENGTH:
            yield f"{block.place}: nothing executes this block, and its fence does not say why"
    for line in prose(page).splitlines():
        if line.startswith("    ") and line.split()[0] in ("$", "python", "make", "manage.py"):
            yield f"{name(page)}: {line.strip()} is not in a fence"
