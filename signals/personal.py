"""Personal values: texts that can be erased from a row without breaking the seal over it.

A stored JSON object holds a commitment where a personal value was: the SHA-256 of a random salt and the
value. Salt and value stand in the column `personal` of the same row, which no seal covers and which the
database lets become NULL. Without the salt, the commitment tells nothing about the value.
"""

import hashlib
import json
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Any

import rfc8785
from django.db.models import BooleanField, F, Func, Value

COMMITMENT = "$personal"
"""The key of a commitment: `{"$personal": "<64 hexadecimal digits>"}`."""
ERASED = "erased"
"""What is read in place of a value that was erased."""
SALT_BYTES = 16


def new_salt() -> str:
    """Return a random salt of 128 bits, in URL-safe base64 without padding."""
    return urlsafe_b64encode(os.urandom(SALT_BYTES)).decode().rstrip("=")


@dataclass(frozen=True, slots=True)
class Personal:
    """A personal value of a payload. The class itself marks a payload's field: `Annotated[str, Personal]`.

    Args:
        value: any JSON value.
        salt: as `new_salt` returns it. Rows of one directive share the salt of one value.
    """

    value: Any
    salt: str = field(default_factory=new_salt)

    @property
    def commitment(self) -> dict[str, str]:
        """What stands in the payload in place of the value."""
        return {COMMITMENT: digest(self.salt, self.value)}


def digest(salt: str, value: Any) -> str:
    """Return the SHA-256 of a salt's bytes and a value's JSON as RFC 8785 writes it, in hexadecimal.

    Raises:
        ValueError: the salt is not base64 of `SALT_BYTES` bytes in its one spelling, or the value has no
            form.
    """
    try:
        raw = urlsafe_b64decode(salt + "==")
    except ValueError:
        raw = b""
    if len(raw) != SALT_BYTES or urlsafe_b64encode(raw).decode().rstrip("=") != salt:
        raise ValueError(f"expected a salt of {SALT_BYTES} bytes in base64")
    # For texts Python's own encoder gives the same bytes, many times faster.
    is_text = isinstance(value, str)
    form = json.dumps(value, ensure_ascii=False).encode() if is_text else rfc8785.dumps(value)
    return hashlib.sha256(raw + form).hexdigest()


def disclose(stored: Any, personal: Any) -> Any:
    """Return a stored object with its personal values put back, or `ERASED` where they are gone.

    Args:
        stored: what is no object is returned as it is: a row that was written by hand may hold any JSON.
        personal: the column of the same row.
    """
    found = {key: _value(personal, key) for key in commitments(stored)}
    return {**stored, **found} if found else stored


def commitments(stored: Any) -> dict[str, Any]:
    """Return the commitments of a stored object by their keys; none of what is no object."""
    if not isinstance(stored, dict):
        return {}
    return {key: value[COMMITMENT] for key, value in stored.items() if is_commitment(value)}


def is_commitment(value: Any) -> bool:
    """Return whether a value stands for a personal one."""
    return isinstance(value, dict) and value.keys() == {COMMITMENT}


def has_text(column: str, part: str) -> Func:
    """Return the condition that some value in a column of personal values has a text with `part` in it.

    Case does not matter; salts and keys are not looked at.
    """
    path = f'$.*[1].** ? (@ like_regex {json.dumps(part)} flag "iq")'
    template = "jsonb_path_exists(%(expressions)s::jsonpath)"
    return Func(F(column), Value(path), template=template, output_field=BooleanField())


def _value(personal: Any, key: str) -> Any:
    opening = personal.get(key) if isinstance(personal, dict) else None
    return opening[1] if isinstance(opening, list) and len(opening) == 2 else ERASED
