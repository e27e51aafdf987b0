"""Weaknesses of the connected role's rights on append-only tables."""

from typing import NamedTuple

from fleetprompt.postgres.grants import append_only_tables
from fleetprompt.postgres.queries import fetch_all
from fleetprompt.postgres.sql import CURRENT_ROLE, RIGHTS_ON_TABLES

_POWERS = (
    "may make roles",
    "may write files or start programs on the server",
    "may create schemas",
    "may create temporary tables, which shadow real ones",
)
_RIGHTS = (
    "owns append-only tables, or may become their owner",
    "may change append-only tables or add triggers to them",
    "may create in the schemas of append-only tables",
)


class Weakness(NamedTuple):
    """A right that the connected role should not have: a sentence, and the schemas; none means anywhere."""

    text: str
    schemas: tuple[str, ...] = ()


def weaknesses() -> list[Weakness]:
    """Return how the connected role could change the append-only tables of all schemas; empty as a rule.

    It takes two statements, whatever the number of tenants.
    """
    [(role, is_superuser, *powers)] = fetch_all(CURRENT_ROLE)
    [schemas] = fetch_all(RIGHTS_ON_TABLES, append_only_tables())
    subject = f"the database role {role}"
    if is_superuser:
        return [Weakness(f"{subject} is a superuser")]
    found = [Weakness(f"{subject} {text}") for text, holds in zip(_POWERS, powers, strict=True) if holds]
    for text, where in zip(_RIGHTS, schemas, strict=True):
        if where:
            found.append(Weakness(f"{subject} {text}", tuple(where)))
    return found
