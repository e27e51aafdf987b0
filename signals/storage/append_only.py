"""Models whose rows are written once: the ORM refuses to change or delete them, and can erase columns."""

from typing import Any, ClassVar, NoReturn, TypeVar

from django.db import models


class AppendOnlyError(TypeError):
    """The program tried to change or delete an append-only row."""


def _refuse(*_args: Any, **_kwargs: Any) -> NoReturn:
    raise AppendOnlyError("signals are append-only: they are never updated or deleted")


ModelT = TypeVar("ModelT", bound=models.Model, covariant=True)


class AppendOnlyQuerySet(models.QuerySet[ModelT]):
    """Reads rows, and erases what may be erased; a trigger in the database refuses all other changes."""

    update = _refuse
    bulk_update = _refuse
    update_or_create = _refuse
    delete = _refuse

    def erase(self) -> int:
        """Set the erasable columns of the rows to NULL; return how many rows had a value there.

        Raises:
            AppendOnlyError: the model has no erasable column.
        """
        columns: tuple[str, ...] = getattr(self.model, "erasable", ())
        if not columns:
            _refuse()
        rows = self.exclude(**{f"{column}__isnull": True for column in columns})
        return models.QuerySet.update(rows, **dict.fromkeys(columns))


class AppendOnlyModel(models.Model):
    """A row that is inserted and then only read."""

    append_only = True
    """The application's database role gets no right to change or delete rows; see `postgres.grants`."""
    erasable: ClassVar[tuple[str, ...]] = ()
    """Columns that may become NULL: the only change that the role may make, and the trigger lets pass."""
    objects = AppendOnlyQuerySet.as_manager()

    class Meta:
        abstract = True

    delete = _refuse

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Insert the row; saving it again is refused.

        Raises:
            AppendOnlyError: it is stored already.
        """
        if not self._state.adding:
            _refuse()
        kwargs["force_insert"] = True
        super().save(*args, **kwargs)
