"""Fixtures: checkouts of the project with embedded servers of their own."""

import os
import pwd
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleetprompt.postgres import embedded
from tests.fleetprompt.checkout import Checkout

NewCheckout = Callable[..., Checkout]


@pytest.fixture(scope="module")
def new_checkout() -> Iterator[NewCheckout]:
    """A function that makes a checkout; servers are stopped and folders removed in the end."""
    made: list[tuple[Checkout, Path]] = []

    def new(*parts: str, user: str | None = None) -> Checkout:
        # Not in pytest's own folder, which no other user may enter.
        top = Path(tempfile.mkdtemp(prefix="fp-"))
        top.chmod(0o755)
        checkout = Checkout(top.joinpath(*parts), pwd.getpwnam(user).pw_uid if user else None)
        made.append((checkout, top))
        checkout.fill()
        if user:
            for path in (top, *top.rglob("*")):
                shutil.chown(path, user)
        return checkout

    yield new
    for checkout, top in made:
        embedded.stop(checkout.data)
        shutil.rmtree(top, ignore_errors=os.geteuid() == 0)


@pytest.fixture(scope="module")
def checkout(new_checkout: NewCheckout) -> Checkout:
    """A checkout that the tests of a module share."""
    return new_checkout()
