"""Seeds: rights, permissions and groups that `post_migrate` makes in every tenant.

They follow from the code, and change without a migration. Asking which of many tenants lack some is
cheaper than making them again in each.
"""

from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple


class Seed(NamedTuple):
    """One kind of seed.

    Attributes:
        wanted: returns texts that identify the seeds of the present code.
        lacking: returns those of some migrated schemas in which seeds are missing.
    """

    wanted: Callable[[], Iterable[str]]
    lacking: Callable[[Collection[str]], Iterable[str]]


_SEEDS: list[Seed] = []


def register(seed: Seed) -> None:
    """Register a kind of seed, for the app whose receiver of `post_migrate` makes it."""
    _SEEDS.append(seed)


def wanted() -> list[str]:
    """Return the sorted texts that identify all seeds of the present code."""
    return sorted(text for seed in _SEEDS for text in seed.wanted())


def lacking(schemas: Collection[str]) -> list[str]:
    """Return those of the schemas in which seeds are missing, in their order.

    It takes a few statements per 25.
    """
    found = {schema for seed in _SEEDS for schema in seed.lacking(schemas)}
    return [schema for schema in schemas if schema in found]
