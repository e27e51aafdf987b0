"""Records of tenants, read from the output of `tenant list --format json`."""

from pathlib import Path
from typing import Literal

from django.core.exceptions import ValidationError
from pydantic import AwareDatetime, BaseModel, Field, TypeAdapter
from pydantic import ValidationError as WrongForm

from fleetprompt.tenants.provisioning import Record
from fleetprompt.validation_errors import problems

_EXPECTED = "--from: expected a file with what `tenant list --format json` prints"


class _Row(BaseModel):
    slug: str
    name: str
    status: Literal["active", "suspended"]
    domains: list[str] = Field(min_length=1)
    created_at: AwareDatetime


def read(file: Path, slug: str) -> Record:
    """Return the record of the tenant with a slug from a file.

    Raises:
        ValidationError: the file cannot be read, has another form, or lacks the tenant.
    """
    try:
        rows = TypeAdapter(list[_Row]).validate_json(file.read_bytes())
    except OSError as error:
        raise ValidationError(f"{_EXPECTED}; {error.filename}: {error.strerror}") from None
    except WrongForm as error:
        [(where, sentence), *_] = problems(error)
        raise ValidationError(f"{_EXPECTED}; {where or 'the whole'}: {sentence}") from None
    for row in rows:
        if row.slug == slug:
            return Record(**row.model_dump())
    known = ", ".join(row.slug for row in rows) or "none"
    raise ValidationError(f"slug: {file} does not have the tenant {slug!r}; it has: {known}")
