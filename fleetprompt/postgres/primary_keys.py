"""Primary keys of models as texts, in the form that `str` writes."""

from collections.abc import Iterable
from datetime import date
from functools import cache
from typing import Any, NamedTuple, cast
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import connection
from django.db.models import (
    BooleanField,
    CharField,
    DateField,
    DateTimeField,
    IntegerField,
    Model,
    TextField,
    UUIDField,
)
from django.db.models.expressions import RawSQL
from django.db.models.functions import Cast

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


class Lookup(NamedTuple):
    """SQL whose rows are a primary key, as a text, and columns of its record.

    Args:
        one: for the key `%(keys)s`. An array of one would take 18 µs more, 2 % of a request.
        many: for those in the array `%(keys)s`.
    """

    one: str
    many: str


def lookup(model: type[Model], *columns: Any) -> Lookup:
    """Return SQL that looks columns up by primary keys.

    Args:
        columns: expressions with a type of their own, so that a migration that changes a field's type does
            not change that of what is prepared.
    """
    quote, pk = connection.ops.quote_name, cast(Any, model._meta.pk)
    key, kind = f"{quote(model._meta.db_table)}.{quote(pk.column)}", pk.db_type(connection)
    found = model._base_manager.order_by().values_list(Cast("pk", TextField()), *columns)
    conditions = f"{key} = %(keys)s::{kind}", f"{key} = ANY(%(keys)s::{kind}[])"
    wanted = [RawSQL(condition, [], BooleanField()) for condition in conditions]  # noqa: S611 -- names of ours
    return Lookup(*(found.filter(one).query.sql_with_params()[0] for one in wanted))


def look_up(sql: Lookup, model: type[Model], texts: Iterable[str]) -> list[tuple[Any, ...]]:
    """Return the rows of the records whose primary keys the texts mean."""
    keys = [str(key) for key in primary_keys(model, texts)]
    is_one = len(keys) == 1
    with prepared_cursor() if is_one else connection.cursor() as cursor:
        cursor.execute(sql.one if is_one else sql.many, {"keys": keys[0] if is_one else array(keys)})
        return list(cursor.fetchall())


@cache
def _field(model: type[Model]) -> Any:
    """Return the field with the key's type: a child model's key refers to its parent's."""
    field: Any = model._meta.pk
    while getattr(field, "remote_field", None):
        field = field.target_field
    return field
