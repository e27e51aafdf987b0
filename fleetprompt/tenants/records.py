"""Records of tenants, read from the output of `tenant list --format json`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from django.core.exceptions import ValidationError
from pydantic import AwareDatetime, Field, TypeAdapter
from pydantic import ValidationError as WrongForm

from fleetprompt.validation_errors import problems

_EXPECTED = "--from: expected a file with what `tenant list --format json` prints"


@dataclass(frozen=True)
class Record:
    """Data of a tenant in the public schema, from which it can be registered again as it was."""

    slug: str
    name: str
    status: Literal["active", "suspended"]
    domains: Annotated[list[str], Field(min_length=1)]
    """Host names without ports, the primary one first."""
    created_at: AwareDatetime
    """Part of the tenant's identity: seals over its signals are signed with it."""


def read(file: Path, slug: str) -> Record:
    """Return the record of the tenant with a slug from a file.

    Raises:
        ValidationError: the file cannot be read, has another form, or lacks the tenant.
    """
    try:
        rows = TypeAdapter(list[Record]).validate_json(file.read_bytes())
    except OSError as error:
        raise ValidationError(f"{_EXPECTED}; {error.filename}: {error.strerror}") from None
    except WrongForm as error:
        [(where, sentence), *_] = problems(error)
        raise ValidationError(f"{_EXPECTED}; {where or 'the whole'}: {sentence}") from None
    for row in rows:
        if row.slug == slug:
            return row
    known = ", ".join(row.slug for row in rows) or "none"
    raise ValidationError(f"slug: {file} does not have the tenant {slug!r}; it has: {known}")
