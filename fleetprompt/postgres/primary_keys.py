"""Primary keys of models as texts, in the form that `str` writes."""

from datetime import date
from functools import cache
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.models import CharField, DateField, DateTimeField, IntegerField, Model, TextField, UUIDField


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


@cache
def _field(model: type[Model]) -> Any:
    """Return the field with the key's type: a child model's key refers to its parent's."""
    field: Any = model._meta.pk
    while getattr(field, "remote_field", None):
        field = field.target_field
    return field
