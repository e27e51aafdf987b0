"""Checks of a tenant after a run; each yields the violations it finds."""

from collections.abc import Iterator

from tests.chaos.harness.checks import effects, forum, lines, lives, restrictions
from tests.chaos.harness.checks.promises import Promises
from tests.chaos.harness.reading import Town, Violation


def check_town(town: Town, promises: Promises | None = None) -> Iterator[Violation]:
    """Check one tenant.

    Args:
        promises: what requesters were told; without it only the database is compared with itself.
    """
    yield from lives.check(town)
    yield from effects.check(town)
    yield from forum.check(town)
    yield from restrictions.check(town)
    yield from lines.check(town)
    if promises:
        yield from promises.check(town)
