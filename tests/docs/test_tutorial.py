"""The tutorial and the guide to an app of one's own, followed in copies of the project."""

import pytest

from tests.docs.following import Reader
from tests.docs.pages import DOCS
from tests.docs.test_examples import IN_CHECKOUT, followed
from tests.fleetprompt.conftest import new_checkout as new_checkout

TUTORIAL = [page for page in IN_CHECKOUT if page.parent.name == "tutorial"]
OTHERS = [[page] for page in IN_CHECKOUT if page.parent.name != "tutorial"]


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("pages", [TUTORIAL, *OTHERS], ids=lambda pages: pages[0].stem)
def test_a_newcomer_gets_through(pages, new_checkout):
    checkout = new_checkout()
    checkout.fill("tests", "pyproject.toml")
    reader = Reader(checkout.folder, checkout)
    for page in pages:
        for block in followed(page):
            reader.follow(block)


def test_the_tutorial_has_pages_in_order():
    assert [page.name[0] for page in sorted((DOCS / "tutorial").glob("*.md"))] == ["1", "2", "3"]
