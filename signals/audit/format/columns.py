"""Coverage of columns: each column of a sealed model is named once, as sealed or as left out."""

from collections.abc import Collection

from django.core.exceptions import ImproperlyConfigured
from django.db.models import Model


def check_named(model: type[Model], *, sealed: Collection[str], left_out: Collection[str]) -> None:
    """Check that the names are exactly the columns of a model.

    Raises:
        ImproperlyConfigured: naming a column that is new, gone or named as both. An unnamed column would
            stay outside the seal, where a change of it is not noticed.
    """
    names = [*sealed, *left_out]
    columns = {str(field.column) for field in model._meta.concrete_fields}
    if wrong := sorted(columns ^ set(names)) or sorted({name for name in names if names.count(name) > 1}):
        raise ImproperlyConfigured(
            f"{model.__name__}: expected each column once in signals.audit, as sealed or as left out; got "
            f"{', '.join(wrong)}. Old seals stay valid only if existing rows keep their bytes"
        )
