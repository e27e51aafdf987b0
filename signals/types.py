"""The small values that signals and directives share, and the rules their texts obey.

Some are personal: values that can be erased from a row without breaking the seal over it. A stored JSON
object holds a commitment where a personal value was: the SHA-256 of a random salt and the value. Salt and
value are in the column `personal` of the same row, which no seal covers and which the database lets
become NULL. Without the salt, the commitment tells nothing about the value.
"""

import hashlib
import json
import os
import re
import unicodedata
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any, ClassVar, TypeVar
from uuid import UUID

import rfc8785
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser
from django.utils.crypto import salted_hmac

from fleetprompt.errors import Refused, kind
from fleetprompt.postgres.primary_keys import primary_key

NAME_LENGTH = 255
KEY_LENGTH = 512
ID_LENGTH = 255
JSON_BYTES = 64 * 1024
JSON_DEPTH = 50
COMMITMENT = "$personal"
"""The key of a commitment: `{"$personal": "<64 hexadecimal digits>"}`."""
ERASED = "erased"
"""What is read in place of a value that was erased."""
SALT_BYTES = 16
LARGEST = 2**53 - 1
"""The largest number on which all programs that read JSON agree: RFC 8259, section 6."""

# A day from the ends of the calendar, so that a time exists in every time zone.
_EARLIEST = datetime(1, 1, 2, tzinfo=UTC)
LATEST = datetime(9999, 12, 30, tzinfo=UTC)
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
# What a JSON text must contain for `_UNSTORABLE`, a number beyond `LARGEST` or a commitment to be in it.
_SUSPICIOUS = re.compile(r"\\u0000|[\ud800-\udfff]|\d{16}|\de\+|\$personal\"")
# Controls of ASCII and Latin-1, tabs and line ends among them, and the separators of lines and paragraphs.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_NAME = re.compile(r"[a-z0-9_]+(?:\.[a-z0-9_]+)+")
_ENCODER = json.JSONEncoder(allow_nan=False, ensure_ascii=False)

ValueT = TypeVar("ValueT", "Actor", "Subject")


def check_name(name: object) -> str:
    """Return `name` if it can name a signal or a directive, such as `forum.thread.lock`.

    Raises:
        Refused: it is not two or more dotted parts of lower-case letters, digits and
            underscores, at most 255 characters long.
    """
    if isinstance(name, str) and len(name) <= NAME_LENGTH and _is_name(name):
        return name
    raise Refused(
        f"name: expected dotted lower-case parts such as forum.thread.lock, at most "
        f"{NAME_LENGTH} characters; got {str(name)[:80]!r}"
    )


@lru_cache(maxsize=1024)
def _is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


def is_storable(text: str) -> bool:
    """Return whether PostgreSQL can store `text`: it has no NUL and no unpaired surrogates."""
    return not _UNSTORABLE.search(text)


def check_text(field: str, value: object, *, length: int, required: bool = False) -> str:
    """Return `value` if PostgreSQL can store it as a text of at most `length` characters.

    Raises:
        Refused: naming `field` and what was expected.
    """
    if not isinstance(value, str):
        raise Refused(f"{field}: expected text; got {kind(value)}")
    if required and not value.strip():
        raise Refused(f"{field}: expected a text that is not empty")
    if len(value) > length:
        raise Refused(f"{field}: expected at most {length} characters; got {len(value)}")
    if not is_storable(value):
        raise Refused(f"{field}: expected text without NUL or unpaired surrogates")
    return value


def bounded_key(text: str, number: int = 1) -> str:
    """Return a key that was built of parts: `text`, or its beginning and a digest if it is too long.

    Args:
        number: of several signals of one kind; from the second on, the key ends in it. It comes from a
            counter in a row, since a count of signals goes back when some are pruned.

    Returns:
        at most `KEY_LENGTH` characters; what was cut ends in `:` and the SHA-256 of `text`, in hexadecimal,
        so that different texts stay different keys.
    """
    if number > 1:
        text = f"{text}:{number}"
    if len(text) <= KEY_LENGTH:
        return text
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
    return f"{text[: KEY_LENGTH - len(digest) - 1]}:{digest}"


def is_one_line(text: str) -> bool:
    """Return whether `text` has no control characters, tabs or line breaks."""
    return not _CONTROL.search(text)


def check_identifier(field: str, value: object, *, length: int, required: bool = False) -> str:
    """Return `value` if it can be an id or a key: storable, at most `length` characters, in one line.

    Raises:
        Refused: naming `field`; also for control characters, tabs and line breaks.
    """
    text = check_text(field, value, length=length, required=required)
    if not is_one_line(text):
        raise Refused(f"{field}: expected no control characters or line breaks; got {text[:80]!a}")
    return text


def check_moment(field: str, value: object) -> datetime:
    """Return `value` if it is a time that can be stored, read back and shown in every time zone.

    Raises:
        Refused: naming `field`: no datetime, one without a time zone, or one at the ends of the calendar.
    """
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise Refused(f"{field}: expected a time with a time zone")
    if not _EARLIEST <= value <= LATEST:
        raise Refused(f"{field}: expected a time between the years 1 and 9999; got {value}")
    return value


def json_object(field: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """Return `value` as plain JSON that PostgreSQL can store: a copy of dictionaries, lists and scalars.

    Raises:
        Refused: naming `field`: not a mapping; more than 64 KiB as JSON, or more than 50 levels deep; or
            it holds something JSON has no form for (a set, NaN, a UUID object, a key that is no text),
            numbers beyond `LARGEST`, text with NUL or unpaired surrogates, or the key of a commitment.
    """
    if not isinstance(value, Mapping):
        raise Refused(f"{field}: expected an object; got {kind(value)}")
    if not value:
        return {}
    try:
        text = _ENCODER.encode(dict(value))
        plain: dict[str, Any] = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise Refused(f"{field}: expected JSON values; {error}") from error
    # Looking at every value takes longer than all the rest, and is hardly ever needed.
    if text.count("{") + text.count("[") > JSON_DEPTH or _SUSPICIOUS.search(text) or plain != value:
        _check_storable(field, value)
    size = len(text.encode())
    if size > JSON_BYTES:
        raise Refused(f"{field}: expected at most {JSON_BYTES} bytes as JSON; got {size}")
    return plain


def as_object(value: object) -> dict[str, Any]:
    """Return a stored JSON object; an empty one where a row that was written by hand holds other JSON."""
    return value if isinstance(value, dict) else {}


def _check_storable(field: str, value: object, depth: int = 0) -> None:
    if depth > JSON_DEPTH:
        raise Refused(f"{field[:80]}…: expected at most {JSON_DEPTH} levels of nesting")
    if isinstance(value, str) and not is_storable(value):
        raise Refused(f"{field}: expected text without NUL or unpaired surrogates")
    if isinstance(value, int | float) and abs(value) > LARGEST:
        raise Refused(f"{field}: expected numbers from -{LARGEST} to {LARGEST}")
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise Refused(f"{field}: expected text as keys; got {key!r}")
            if key == COMMITMENT:
                raise Refused(f"{field}: expected no key {COMMITMENT}, which marks a commitment")
            _check_storable(field, key)
            _check_storable(f"{field}.{key}", item, depth + 1)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check_storable(f"{field}[{index}]", item, depth + 1)


def new_salt() -> str:
    """Return a random salt of 128 bits, in URL-safe base64 without padding."""
    return _base64(os.urandom(SALT_BYTES))


def _base64(salt: bytes) -> str:
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
        """What the payload has in place of the value."""
        return {COMMITMENT: digest(self.salt, self.value)}


def digest(salt: str, value: Any) -> str:
    """Return the SHA-256 of a salt's bytes and a value's JSON as RFC 8785 writes it, in hexadecimal.

    Raises:
        ValueError: the salt is not as `new_salt` returns it, or the value has no canonical JSON.
    """
    try:
        raw = urlsafe_b64decode(salt + "==")
    except ValueError:
        raw = b""
    if len(raw) != SALT_BYTES or _base64(raw) != salt:
        raise ValueError(f"expected a salt of {SALT_BYTES} bytes in base64")
    return hashlib.sha256(raw + _canonical(value)).hexdigest()


def _canonical(value: Any) -> bytes:
    # For texts Python's own encoder gives the same bytes, many times faster.
    return _ENCODER.encode(value).encode() if isinstance(value, str) else rfc8785.dumps(value)


def commit(texts: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield a new salt for each text, and their `digest`; for an empty text two empty ones.

    Rows of a batch have one text and different salts, so that erasing one leaves nothing of it in another.
    This takes a third of the time of as many `Personal`.
    """
    canonical = cache(_canonical)
    for text in texts:
        raw = os.urandom(SALT_BYTES) if text else b""
        yield _base64(raw), hashlib.sha256(raw + canonical(text)).hexdigest() if text else ""


def keyed_digest(value: Any, *, purpose: str, tenant: str) -> str:
    """Return a digest of a value's JSON that only this installation can compute, in hexadecimal.

    Values that were erased are compared by it: without `SECRET_KEY`, a guess of a value cannot be checked.

    Args:
        purpose: what it is for, so that equal values have other digests elsewhere.
        tenant: the slug of the tenant that has the value.
    """
    return _keyed_digest(value, purpose, tenant, settings.SECRET_KEY)


def has_keyed_digest(stored: object, value: Any, *, purpose: str, tenant: str) -> bool:
    """Return whether a stored `keyed_digest` is the value's, also by a key of `SECRET_KEY_FALLBACKS`."""
    secrets = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return any(stored == _keyed_digest(value, purpose, tenant, secret) for secret in secrets)


def _keyed_digest(value: Any, purpose: str, tenant: str, secret: str | bytes) -> str:
    return salted_hmac(f"{purpose}:{tenant}", _canonical(value), secret, algorithm="sha256").hexdigest()


def disclose(stored: Any, personal: Any) -> Any:
    """Return a stored object with its personal values put back, or `ERASED` where they are gone.

    Args:
        stored: what is no object is returned as it is: a row that was written by hand may hold any JSON.
        personal: the column of the same row.
    """
    found = {key: opened(personal, key, ERASED) for key in commitments(stored)}
    return {**stored, **found} if found else stored


def commitments(stored: Any) -> dict[str, Any]:
    """Return the commitments of a stored object by their keys; none of what is no object."""
    if not isinstance(stored, dict):
        return {}
    return {key: value[COMMITMENT] for key, value in stored.items() if is_commitment(value)}


def is_commitment(value: Any) -> bool:
    """Return whether a value is the commitment of a personal one."""
    return isinstance(value, dict) and value.keys() == {COMMITMENT}


def opened(personal: Any, key: str, otherwise: Any) -> Any:
    """Return the value under a key of such a column, or something else where there is none."""
    opening = _opening(personal, key)
    return opening[1] if opening else otherwise


def _opening(personal: Any, key: str) -> list[Any] | None:
    opening = personal.get(key) if isinstance(personal, dict) else None
    return opening if isinstance(opening, list) and len(opening) == 2 else None


def salted(personal: Any, key: str) -> Personal | str:
    """Return a row's personal text with its salt, for another row; "" without one, `ERASED` if it is gone.

    Args:
        personal: the column, as a directive has it.
    """
    if personal is None:
        return ERASED
    opening = _opening(personal, key)
    return Personal(opening[1], opening[0]) if opening else ""


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


def _identifier(field: str, value: object) -> str:
    text = str(value) if isinstance(value, int | UUID) else value
    return check_identifier(field, text, length=ID_LENGTH, required=True)


@dataclass(frozen=True, slots=True)
class Actor:
    """User, agent or process that caused something: a copy that survives the deletion of the user.

    Args:
        type: `user`, `agent` or `system`.
        id: the user's primary key as Django writes it, the agent's or the process' own name without
            spaces around it and in Unicode's form NFC; text.
        label: how people know the actor; the id when empty.

    Raises:
        Refused: another type; an id that is empty, too long, in another form than its one, or has
            control characters; a label that is too long or not storable.
    """

    TYPES: ClassVar[tuple[str, ...]] = ("user", "agent", "system")

    type: str
    id: str
    label: str = ""

    def __post_init__(self) -> None:
        if self.type not in self.TYPES:
            raise Refused(
                f"actor.type: expected one of {', '.join(self.TYPES)}; got {str(self.type)[:80]!r}"
            )
        object.__setattr__(self, "id", _identifier("actor.id", self.id))
        # Another spelling of an id would pass as the actor and be another one on record.
        form = unicodedata.normalize("NFC", self.id.strip())
        if self.type == "user" and (key := primary_key(get_user_model(), self.id)) is not None:
            form = str(key)
        if form != self.id:
            raise Refused(f"actor.id: expected the id in its one form, {form!r}; got {self.id[:80]!r}")
        check_text("actor.label", self.label, length=ID_LENGTH)

    def __str__(self) -> str:
        return self.label or f"{self.type}:{self.id}"


@dataclass(frozen=True, slots=True)
class Subject:
    """What something is about, such as `("forum.post", <uuid>)`.

    Raises:
        Refused: the type is not a dotted name, or the id is empty, too long, or has control characters.
    """

    type: str
    id: str

    def __post_init__(self) -> None:
        check_name(self.type)
        object.__setattr__(self, "id", _identifier("subject.id", self.id))

    def __str__(self) -> str:
        return f"{self.type}:{self.id}"


def actor_of(user: AbstractBaseUser | AnonymousUser) -> Actor:
    """Return a user as an actor: the primary key, and the full name or else the login name."""
    label = getattr(user, "get_full_name", str)() or user.get_username()
    return Actor("user", str(user.pk), label[:ID_LENGTH])


@lru_cache(maxsize=256)
def stored_actor(actor_type: str, actor_id: str, label: str) -> Actor:
    """Return the actor of a row as it is there, unchecked: the row may be older than the rules."""
    return _unchecked(Actor, type=actor_type, id=actor_id, label=label)


@lru_cache(maxsize=256)
def stored_subject(subject_type: str, subject_id: str) -> Subject | None:
    """Return the subject of a row as it is there, unchecked, or None when its type is empty."""
    return _unchecked(Subject, type=subject_type, id=subject_id) if subject_type else None


# As many as one statement inserts: each is asked for several times in a request.
@lru_cache(maxsize=5_000)
def subject_of(subject_type: str, subject_id: str) -> Subject | None:
    """Return a subject, checked, or None when its type is empty; those of late are kept."""
    return Subject(subject_type, subject_id) if subject_type else None


class ActorAndSubject:
    """A row's columns of an actor and of a subject, as one value each."""

    @property
    def actor(self: Any) -> Actor:
        """The user, agent or process that caused it."""
        return stored_actor(self.actor_type, self.actor_id, self.actor_label)

    @property
    def subject(self: Any) -> Subject | None:
        """What it is about, if about one thing."""
        return stored_subject(self.subject_type, self.subject_id)


def check_stored(actor: Actor, subject: Subject | None) -> None:
    """Check of a row's actor and subject what every rule has asked for: a type that there is, and an id.

    Raises:
        Refused: naming what is not as expected.
    """
    # The constructors say what is wrong; for each signal they would take too long.
    if actor.type not in Actor.TYPES or not actor.id:
        Actor(actor.type, actor.id)
    if subject and not (subject.id and _is_name(subject.type)):
        Subject(subject.type, subject.id)


def _unchecked(kind: type[ValueT], **values: str) -> ValueT:
    made = object.__new__(kind)
    for name, value in values.items():
        object.__setattr__(made, name, value)
    return made
