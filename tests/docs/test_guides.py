"""The directives that the documents define do what they say."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from directives.handlers import Handler
from directives.outcomes import Kind
from tests.docs.following import Reader
from tests.docs.pages import DOCS, ROOT, Block, blocks
from tests.support import ask, run, signal_names

GUIDE = DOCS / "guides/add-a-directive.md"


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """A reader in an empty folder."""
    reader = Reader(tmp_path)
    yield reader
    reader.leave()


@pytest.mark.parametrize("page", [ROOT / "README.md", GUIDE], ids=lambda page: page.name)
def test_the_directive_of_a_few_lines_works(page, reader, forum):
    reader.follow(block_with(page, "class CloseThread"))
    directive = ask("forum.thread.close", {"thread_id": str(forum.thread.pk)}).directive
    assert run(directive).kind == Kind.SUCCEEDED
    forum.thread.refresh_from_db()
    assert forum.thread.status == "locked"
    assert "forum.thread.closed" in signal_names(directive)


def test_the_test_of_the_guide_to_directives_passes(reader, forum):
    reader.follow(block_with(GUIDE, "class RenameThread"))
    names: dict[str, object] = {}
    exec(block_with(GUIDE, "def test_").text, names)  # noqa: S102
    [test] = [value for name, value in names.items() if name.startswith("test_")]
    test(forum)


def test_the_payload_of_the_guide_marks_its_text():
    names: dict[str, object] = {}
    exec(block_with(GUIDE, "class WarnPayload").text, names)  # noqa: S102
    handler = type("Warn", (Handler,), {"name": "a.b", "Payload": names["WarnPayload"]})()
    assert handler.personal_fields == {"reason", "text"}


def block_with(page: Path, text: str) -> Block:
    """Return the one block of a page that has a text."""
    [block] = [block for block in blocks(page) if text in block.text]
    return block
