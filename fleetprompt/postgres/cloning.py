"""Copies a schema inside the database: what it is made of, and every row in it.

The statements are written from PostgreSQL's own catalogues, so that nobody keeps a list of tables.
"""

from typing import Any

from django.db import connection, transaction

from fleetprompt.postgres import definitions

# Rows before what looks at each of them: keys and indexes are made in one go then.
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


def strangers(schema: str) -> list[str]:
    """Return what stands in a schema and `clone` cannot copy, such as views; empty as a rule."""
    with connection.cursor() as cursor:
        cursor.execute(definitions.STRANGERS, _place(cursor, schema))
        return sorted({what for (what,) in cursor.fetchall()})


def clone(source: str, target: str) -> None:
    """Make the schema `target`, with everything that `source` has except its rights, in one transaction.

    Rows and the values of sequences come along. What refers to `source` refers to `target` in the copy. To
    be called by the owner; nobody else gets rights in the copy. `strangers(source)` must be empty.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"CREATE SCHEMA {_quoted(target)}")
        # Then names are written, and read, without the schema they stand in.
        cursor.execute(f"SET LOCAL search_path = {_quoted(source)}")
        script = "".join(f"{statement};\n" for statement in _statements(cursor, source))
        cursor.execute(f"SET LOCAL search_path = {_quoted(target)}")
        cursor.execute(script)


def _statements(cursor: Any, schema: str) -> list[str]:
    found = []
    place = _place(cursor, schema)
    for step in _STEPS:
        cursor.execute(step, place)
        found += [statement for (statement,) in cursor.fetchall()]
    return found


def _place(cursor: Any, schema: str) -> dict[str, Any]:
    cursor.execute(definitions.PLACE, [schema])
    return dict(zip(("oid", "name", "relations", "everything"), cursor.fetchone(), strict=True))


def _quoted(name: str) -> str:
    return str(connection.ops.quote_name(name))
