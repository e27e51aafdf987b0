"""What `post_migrate` makes in every tenant beside tables, and which tenants lack some of it.

Rights, permissions and groups follow from the code, and change without a migration. Asking for what is
missing, in many tenants at once, is cheaper than making it again in each.
"""

from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple


class Seed(NamedTuple):
    """One kind of what is made.

    Attributes:
        wanted: gives texts that say what the present code makes in a new tenant; other texts, other things.
        lacking: gives those of some schemas, all of them migrated, in which something is missing.
    """

    wanted: Callable[[], Iterable[str]]
    lacking: Callable[[Collection[str]], Iterable[str]]


_SEEDS: list[Seed] = []


def register(seed: Seed) -> None:
    """Let a kind of seed be looked for; for the app whose handler of `post_migrate` makes it."""
    _SEEDS.append(seed)


def wanted() -> list[str]:
    """Return what the present code makes in a new tenant, in texts, sorted."""
    return sorted(text for seed in _SEEDS for text in seed.wanted())


def lacking(schemas: Collection[str]) -> list[str]:
    """Return those of the schemas in which something is missing, in their order.

    It takes a few statements per 25.
    """
    found = {schema for seed in _SEEDS for schema in seed.lacking(schemas)}
    return [schema for schema in schemas if schema in found]
