"""Personal values: texts that can be erased from a row without breaking the seal over it.

A stored JSON object holds a commitment where a personal value was: the SHA-256 of a random salt and the
value. Salt and value stand in the column `personal` of the same row, which no seal covers and which the
database lets become NULL. Without the salt, the commitment tells nothing about the value.
"""

import hashlib
import json
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar

import rfc8785
from django.conf import settings
from django.db.models import BooleanField, F, Func, Value
from django.utils.crypto import salted_hmac

COMMITMENT = "$personal"
"""The key of a commitment: `{"$personal": "<64 hexadecimal digits>"}`."""
ERASED = "erased"
"""What is read in place of a value that was erased."""
SALT_BYTES = 16
_TEXTS = json.JSONEncoder(ensure_ascii=False)


def new_salt() -> str:
    """Return a random salt of 128 bits, in URL-safe base64 without padding."""
    return _spelt(os.urandom(SALT_BYTES))


def _spelt(salt: bytes) -> str:
    return urlsafe_b64encode(salt).decode().rstrip("=")


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
    if len(raw) != SALT_BYTES or _spelt(raw) != salt:
        raise ValueError(f"expected a salt of {SALT_BYTES} bytes in base64")
    return hashlib.sha256(raw + _form(value)).hexdigest()


def _form(value: Any) -> bytes:
    # For texts Python's own encoder gives the same bytes, many times faster.
    return _TEXTS.encode(value).encode() if isinstance(value, str) else rfc8785.dumps(value)


def commit(texts: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield a new salt for each text, and their `digest`; for an empty text two empty ones.

    Rows of a batch have one text and different salts, so that erasing one leaves nothing of it in another.
    This takes a third of the time of as many `Personal`.
    """
    form = cache(_form)
    for text in texts:
        raw = os.urandom(SALT_BYTES) if text else b""
        yield _spelt(raw), hashlib.sha256(raw + form(text)).hexdigest() if text else ""


def keyed_digest(value: Any, *, purpose: str, tenant: str) -> str:
    """Return a digest of a value's JSON that only this installation can compute, in hexadecimal.

    Values that were erased are compared by it: without `SECRET_KEY` nobody can find them by trying.

    Args:
        purpose: where it stands, so that equal values have other digests elsewhere.
        tenant: the slug of the tenant that has the value.
    """
    return _keyed_digest(value, purpose, tenant, settings.SECRET_KEY)


def has_keyed_digest(stored: object, value: Any, *, purpose: str, tenant: str) -> bool:
    """Return whether a stored `keyed_digest` is the value's, also by a key of `SECRET_KEY_FALLBACKS`."""
    secrets = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return any(stored == _keyed_digest(value, purpose, tenant, secret) for secret in secrets)


def _keyed_digest(value: Any, purpose: str, tenant: str, secret: str | bytes) -> str:
    return salted_hmac(f"{purpose}:{tenant}", _form(value), secret, algorithm="sha256").hexdigest()


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


def salted(personal: Mapping[str, Any] | None, key: str) -> Personal | str:
    """Return a row's personal text with its salt, for another row; "" without one, `ERASED` if it is gone.

    Args:
        personal: the column, as a directive has it.
    """
    if personal is None:
        return ERASED
    return Personal(personal[key][1], personal[key][0]) if key in personal else ""


class DisclosingModel:
    """A model with `payload` and `personal` whose personal values are put back as a row is loaded."""

    personal_part: ClassVar[str] = ""
    """The key of `personal` under which the payload's values are; empty where they are all that it has."""

    @classmethod
    def from_db(cls, *args: Any, **kwargs: Any) -> Any:
        """Return a stored row with its payload's personal values, unless one of the columns is deferred."""
        row = super().from_db(*args, **kwargs)  # type: ignore[misc]
        loaded = vars(row)
        if "payload" in loaded and "personal" in loaded:
            personal, part = loaded["personal"], cls.personal_part
            if part and isinstance(personal, dict):
                if part not in personal:
                    # Nothing of this payload was ever personal.
                    return row
                personal = personal[part]
            loaded["payload"] = disclose(loaded["payload"], personal)
        return row
