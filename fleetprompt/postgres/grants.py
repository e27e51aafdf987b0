"""Rights of the application's database role: to read and write rows, not to change tables or the rows of
append-only tables, except to erase columns; and weaknesses of the connected role's rights.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from django.apps import apps
from django.db import transaction

from fleetprompt.errors import Refused
from fleetprompt.postgres import owner, sql
from fleetprompt.postgres.advisory_locks import lock_in_transaction
from fleetprompt.postgres.queries import execute, fetch_all, quoted

_SEQUENCE = frozenset({"USAGE", "SELECT"})

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

TEMPLATE = "fleetprompt_template"
"""The schema that new tenants are cloned from: the owner's alone, without rights for the application."""


class Weakness(NamedTuple):
    """A right that the connected role should not have: a sentence, and the schemas; none means anywhere."""

    text: str
    schemas: tuple[str, ...] = ()


def append_only_tables() -> dict[str, tuple[str, ...]]:
    """Return the tables of all models that say `append_only = True`, each with its `erasable` columns."""
    return {
        model._meta.db_table: getattr(model, "erasable", ())
        for model in apps.get_models()
        if getattr(model, "append_only", False)
    }


def grant(schema: str) -> None:
    """Correct the rights of the application's role in a schema, after migrations.

    The caller is the owner. Only differences are written, and objects of other owners are left alone,
    such as an extension's views. In the public schema it also revokes what PostgreSQL grants to
    PUBLIC: temporary tables, which would shadow real ones, and before version 15 new tables in that
    schema. It does nothing in `TEMPLATE`, nor where owner and application are one role.

    Raises:
        Refused: the application's role does not exist.
    """
    role = owner.application()
    if role is None or schema == TEMPLATE:
        return
    with transaction.atomic():
        # Concurrent GRANTs on one table would fail, not wait.
        lock_in_transaction("fleetprompt.grants")
        if not fetch_all(sql.ROLE_EXISTS, role):
            raise Refused(f"DATABASE_URL: the database has no role {role!r}; make it, or name another")
        if fetch_all(sql.SCHEMAS_WITH_WRONG_RIGHTS, [schema], role, role):
            execute(sql.GRANT_SCHEMA.format(schema=quoted(schema), role=quoted(role)))
        statements = [
            sql.GRANT_RELATION.format(
                relation=f"{'SEQUENCE ' if wanted == _SEQUENCE else ''}{quoted(schema)}.{quoted(name)}",
                role=quoted(role),
                privileges=", ".join(sorted(wanted)),
            )
            for name, wanted, _ in _deviations([schema], role)
        ]
        if statements:
            execute("\n".join(statements))
        [(database, is_allowed)] = fetch_all(sql.TEMPORARY_RIGHT, role)
        if schema == "public" and is_allowed:
            execute(sql.REVOKE_TEMPORARY.format(database=quoted(database), role=quoted(role)))


def lacking(schemas: Collection[str]) -> set[str]:
    """Return those of the schemas in which `grant` would write something, in two statements."""
    role = owner.application()
    if role is None:
        return set()
    found = {schema for (schema,) in fetch_all(sql.SCHEMAS_WITH_WRONG_RIGHTS, list(schemas), role, role)}
    return found.union(*(where for _, _, where in _deviations(schemas, role)))


def weaknesses() -> list[Weakness]:
    """Return how the connected role could change the append-only tables of all schemas; empty as a rule.

    It takes two statements, whatever the number of tenants.
    """
    [(role, is_superuser, *powers)] = fetch_all(sql.CURRENT_ROLE)
    tables = append_only_tables()
    erasable = [f"{table}.{column}" for table, columns in tables.items() for column in columns]
    [schemas] = fetch_all(sql.RIGHTS_ON_TABLES, erasable, list(tables))
    subject = f"the database role {role}"
    if is_superuser:
        return [Weakness(f"{subject} is a superuser")]
    found = [Weakness(f"{subject} {text}") for text, holds in zip(_POWERS, powers, strict=True) if holds]
    for text, where in zip(_RIGHTS, schemas, strict=True):
        if where:
            found.append(Weakness(f"{subject} {text}", tuple(where)))
    return found


def _deviations(schemas: Collection[str], role: str) -> Iterator[tuple[str, frozenset[str], list[str]]]:
    """Give the relations with wrong rights: name, the right ones, and in which schemas."""
    append_only = append_only_tables()
    for name, kind, granted, where in fetch_all(sql.RELATION_RIGHTS, role, list(schemas)):
        wanted = _wanted(name, kind, append_only)
        if set(granted) != wanted:
            yield name, wanted, where


def _wanted(name: str, kind: str, append_only: Mapping[str, Iterable[str]]) -> frozenset[str]:
    if kind == "S":
        return _SEQUENCE
    if kind in "vm" or name == "django_migrations":
        return frozenset({"SELECT"})
    appending = frozenset({"SELECT", "INSERT"})
    if name in append_only:
        return appending.union(f"UPDATE ({column})" for column in append_only[name])
    return appending | {"UPDATE", "DELETE"}
