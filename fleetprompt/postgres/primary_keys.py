"""Primary keys of models as texts, each in the one form in which `str` writes it."""

from datetime import date
from functools import cache
from typing import Any
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.models import CharField, DateField, DateTimeField, IntegerField, Model, TextField, UUIDField


@cache
def python_type(model: type[Model]) -> type | None:
    """Return the type of a model's primary key: `int`, `UUID`, `date` or `str`.

    None for any other kind: several columns, or what Python, JSON and PostgreSQL write in different ways,
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
    """Return the value of a model's primary key that `text` means; None when it can mean none.

    Other forms are understood too, such as a UUID without hyphens; `str` of the value is the one form.
    """
    field = _field(model)
    if python_type(model) is None:
        return None
    try:
        # What PostgreSQL cannot even be asked about: unpaired surrogates.
        text.encode()
        value = field.to_python(text)
        if isinstance(value, int):
            # What the column has no room for.
            field.run_validators(value)
    except (ValidationError, ValueError, OverflowError):
        return None
    if isinstance(value, str) and ("\x00" in value or len(value) > (field.max_length or len(value))):
        return None
    return value


@cache
def _field(model: type[Model]) -> Any:
    """Return the field that says what the key is: a child's key is a link to its parent's."""
    field: Any = model._meta.pk
    while getattr(field, "remote_field", None):
        field = field.target_field
    return field
