"""Clones of a schema inside the database: its objects and every row.

The statements are generated from PostgreSQL's catalogues, so that no list of tables is kept by hand.
"""

from typing import Any

from django.db import connection, transaction

from fleetprompt.postgres import definitions
from fleetprompt.postgres.queries import quoted
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
    with connection.cursor() as cursor:
        cursor.execute(definitions.NOT_CLONEABLE, _identity(cursor, schema))
        return sorted({description for (description,) in cursor.fetchall()})


def clone(source: str, target: str) -> None:
    """Make the schema `target`, with everything that `source` has except its rights, in one transaction.

    Rows and the values of sequences are copied. References to `source` become references to `target`. The
    caller is the owner, and other roles get no rights in the copy. `not_cloneable(source)` must be empty.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(CREATE_SCHEMA.format(schema=quoted(target)))
        # Names are then written, and read, without their schema.
        cursor.execute(SET_SEARCH_PATH.format(schema=quoted(source)))
        script = "".join(f"{statement};\n" for statement in _statements(cursor, source))
        cursor.execute(SET_SEARCH_PATH.format(schema=quoted(target)))
        cursor.execute(script)


def _statements(cursor: Any, schema: str) -> list[str]:
    found = []
    identity = _identity(cursor, schema)
    for step in _STEPS:
        cursor.execute(step, identity)
        found += [statement for (statement,) in cursor.fetchall()]
    return found


def _identity(cursor: Any, schema: str) -> dict[str, Any]:
    cursor.execute(definitions.IDENTITY, [schema])
    return dict(zip(("oid", "name", "relations", "everything"), cursor.fetchone(), strict=True))
