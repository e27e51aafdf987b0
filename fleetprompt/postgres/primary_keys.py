"""Primary keys of models as texts, in the form that `str` writes."""

from collections.abc import Iterable
from datetime import date
from functools import cache
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import connection
from django.db.models import CharField, DateField, DateTimeField, IntegerField, Model, TextField, UUIDField

from fleetprompt.postgres.direct import prepared_cursor
from fleetprompt.postgres.queries import array


@cache
def python_type(model: type[Model]) -> type | None:
    """Return the type of a model's primary key: `int`, `UUID`, `date` or `str`.

    None for other kinds: several columns, and types that Python, JSON and PostgreSQL write differently,
    such as a time, a decimal or a float.
    """
    match _field(model):
        case IntegerField():
            return int
        case UUIDField():
            return UUID
        case DateField() as field if not isinstance(field, DateTimeField):
            return date
        case CharField() | TextField():
            return str
    return None


def primary_key(model: type[Model], text: str) -> Any:
    """Return the value of a model's primary key for a text; None when it cannot be one.

    Other forms are accepted too, such as a UUID without hyphens; `str` of the value is the canonical form.
    """
    field = _field(model)
    if python_type(model) is None:
        return None
    try:
        # PostgreSQL accepts no unpaired surrogates.
        text.encode()
        value = field.to_python(text)
        if isinstance(value, int):
            # The range of the column.
            field.run_validators(value)
    except (ValidationError, ValueError, OverflowError):
        return None
    if isinstance(value, str) and ("\x00" in value or len(value) > (field.max_length or len(value))):
        return None
    return value


def primary_keys(model: type[Model], texts: Iterable[str]) -> list[Any]:
    """Return the primary keys that the texts mean, without those that mean none."""
    return [key for text in texts if (key := primary_key(model, text)) is not None]


def parse_uuid(value: object) -> UUID | None:
    """Return the UUID that a value is, or that its text means; None when it means none."""
    try:
        return value if isinstance(value, UUID) else UUID(str(value))
    except ValueError:
        return None


def field_values(model: type[Model], name: str, texts: Iterable[str]) -> dict[str, Any]:
    """Return a field of the records with these primary keys, by key; nothing when there is no such field.

    Args:
        name: of a field that is a text or an integer.
    """
    keys = primary_keys(model, texts)
    if (sql := _values_sql(model, name)) is None:
        return {}
    # A single key is looked up with each request, and found by the index however large the table is.
    with prepared_cursor() if len(keys) == 1 else connection.cursor() as cursor:
        cursor.execute(sql, [array(map(str, keys))])
        return dict(cursor.fetchall())


@cache
def _values_sql(model: type[Model], name: str) -> str | None:
    quote, known = connection.ops.quote_name, model._meta
    field: Any = next((field for field in known.concrete_fields if field.name == name), None)
    if field is None:
        return None
    # The column may be in the table of a parent, whose primary key is the same.
    owner: Any = field.model._meta
    key, kind = quote(owner.pk.column), known.pk.db_type(connection)
    # A migration that changes the column's type must not change the type of what is prepared.
    column = f"{quote(field.column)}::{'text' if isinstance(field, CharField) else 'bigint'}"
    return f"SELECT {key}::text, {column} FROM {quote(owner.db_table)} WHERE {key} = ANY(%s::{kind}[])"  # noqa: S608


@cache
def _field(model: type[Model]) -> Any:
    """Return the field with the key's type: a child model's key refers to its parent's."""
    field: Any = model._meta.pk
    while getattr(field, "remote_field", None):
        field = field.target_field
    return field
