"""Clones of a schema inside the database: its objects and every row.

The statements are generated from PostgreSQL's catalogues, so that no list of tables is kept by hand.
"""

from typing import Any

from django.db import transaction

from fleetprompt.postgres import definitions
from fleetprompt.postgres.direct import execute
from fleetprompt.postgres.queries import fetch_all, quoted
from fleetprompt.postgres.sql import CREATE_SCHEMA, SET_SEARCH_PATH

# Rows before constraints, indexes and triggers: keys and indexes are then built in one go.
_STEPS = (
    definitions.SEQUENCES,
    definitions.FUNCTIONS,
    definitions.TABLES,
    definitions.OWNED,
    definitions.ROWS,
    definitions.VALUES,
    definitions.CONSTRAINTS,
    definitions.INDEXES,
    definitions.INDEX_OPTIONS,
    definitions.TRIGGERS,
    definitions.COMMENTS,
)


def not_cloneable(schema: str) -> list[str]:
    """Return descriptions of objects that `clone` cannot copy, such as views; empty as a rule."""
    found = fetch_all(definitions.NOT_CLONEABLE, **_identity(schema))
    return sorted({description for (description,) in found})


def clone(source: str, target: str) -> None:
    """Make the schema `target`, with everything that `source` has except its rights, in one transaction.

    Rows and the values of sequences are copied. References to `source` become references to `target`. The
    caller is the owner, and other roles get no rights in the copy. `not_cloneable(source)` must be empty.
    """
    identity = _identity(source)
    with transaction.atomic():
        execute(CREATE_SCHEMA.format(schema=quoted(target)))
        # Names are then written, and read, without their schema.
        execute(SET_SEARCH_PATH.format(schema=quoted(source)))
        script = [text for step in _STEPS for (text,) in execute(step, identity)]
        execute(SET_SEARCH_PATH.format(schema=quoted(target)))
        execute(";\n".join(script))


def _identity(schema: str) -> dict[str, Any]:
    [found] = fetch_all(definitions.IDENTITY, schema)
    return dict(zip(("oid", "name", "relations", "everything"), found, strict=True))
