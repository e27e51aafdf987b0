"""Seeds: rights, permissions and groups that `post_migrate` makes in every tenant.

They follow from the code, and change without a migration. Asking which of many tenants lack some is
cheaper than making them again in each.
"""

from collections.abc import Callable, Collection, Iterable

_Wanted = Callable[[], Iterable[str]]
_Lacking = Callable[[Collection[str]], Iterable[str]]
_SEEDS: list[tuple[_Wanted, _Lacking]] = []


def register(wanted: _Wanted, lacking: _Lacking) -> None:
    """Register a kind of seed, for the app whose receiver of `post_migrate` makes it.

    Args:
        wanted: returns texts that identify the seeds of the present code.
        lacking: returns those of some migrated schemas in which seeds are missing.
    """
    _SEEDS.append((wanted, lacking))


def wanted() -> list[str]:
    """Return the sorted texts that identify all seeds of the present code."""
    return sorted(text for wanted_texts, _ in _SEEDS for text in wanted_texts())


def lacking(schemas: Collection[str]) -> set[str]:
    """Return those of the schemas in which seeds are missing; it takes a few statements per 25."""
    return {schema for _, lacking_schemas in _SEEDS for schema in lacking_schemas(schemas)}
