"""Keys that sign seals: Ed25519 (RFC 8032), from the settings, or made on first use in development."""

import base64
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from django.conf import settings

from fleetprompt.errors import Refused

PublicKeys = Mapping[str, "PublicKey"]
"""Public keys by their ids."""

_UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm)


class KeyUnusable(Refused):
    """The private key of the settings cannot sign."""


class KeyMissing(KeyUnusable):
    """The settings have no private key."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that verifies signatures.

    Args:
        raw: the key's 32 bytes.
    """

    raw: bytes

    @property
    def id(self) -> str:
        """The name of the key in signed heads: the SHA-256 of its bytes, in hexadecimal digits."""
        return sha256(self.raw).hexdigest()

    def __str__(self) -> str:
        return base64.b64encode(self.raw).decode()

    def verifies(self, signature: str, data: bytes) -> bool:
        """Return whether `signature`, in base64, is this key's over `data`."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(
                base64.b64decode(signature, validate=True), data
            )
        except (InvalidSignature, ValueError):
            return False
        return True


class PrivateKey:
    """A key that signs.

    Args:
        raw: the key's 32 bytes.
    """

    def __init__(self, raw: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(raw)
        self.public = PublicKey(self._key.public_key().public_bytes_raw())

    def sign(self, data: bytes) -> str:
        """Return the signature of `data` in base64."""
        return base64.b64encode(self._key.sign(data)).decode()


def private_key() -> PrivateKey:
    """Return the key that signs: `AUDIT_KEY`, or in development the one in a file, made when missing.

    Raises:
        KeyMissing: there is none, and `DEBUG` is off.
        KeyUnusable: it is no Ed25519 key.
    """
    if settings.AUDIT_KEY:
        return _private("AUDIT_KEY", settings.AUDIT_KEY)
    if settings.AUDIT_KEY_FILE is None:
        raise KeyMissing(
            "AUDIT_KEY: expected a private key, because DEBUG is off; `audit generate-key` makes one"
        )
    return _private(str(settings.AUDIT_KEY_FILE), _development_key(settings.AUDIT_KEY_FILE))


def trusted_keys() -> PublicKeys:
    """Return the public keys whose signatures count: those of `AUDIT_PUBLIC_KEYS` and that of the own key.

    Raises:
        Refused: one of them is no Ed25519 key, or there is none.
    """
    found = public_keys(settings.AUDIT_PUBLIC_KEYS, "AUDIT_PUBLIC_KEYS")
    try:
        own = private_key().public
    except KeyMissing:
        if not found:
            raise
        return found
    return {**found, own.id: own}


def public_keys(texts: Iterable[str], what: str) -> PublicKeys:
    """Return public keys, given as base64 of 32 bytes or as PEM, by their ids.

    Args:
        what: the name of the keys in an error.

    Raises:
        Refused: one of them is no Ed25519 key.
    """
    found = [_public(what, text) for text in texts]
    return {key.id: key for key in found}


def generate() -> str:
    """Return a new private key, base64 of its 32 bytes."""
    return base64.b64encode(Ed25519PrivateKey.generate().private_bytes_raw()).decode()


def from_base64(text: str) -> bytes:
    """Return the 32 bytes of a key.

    Raises:
        ValueError: it is something else.
    """
    raw = base64.b64decode(text.strip(), validate=True)
    if len(raw) != 32:
        raise ValueError("not 32 bytes")
    return raw


def _private(what: str, text: str) -> PrivateKey:
    try:
        return PrivateKey(_raw(text, partial(load_pem_private_key, password=None)))
    except _UNREADABLE:
        raise KeyUnusable(
            f"{what}: expected an Ed25519 private key, base64 of 32 bytes or PEM without a password"
        ) from None


def _public(what: str, text: str) -> PublicKey:
    try:
        return PublicKey(_raw(text, load_pem_public_key))
    except _UNREADABLE:
        raise Refused(
            f"{what}: expected Ed25519 public keys, each base64 of 32 bytes or PEM; got {text[:80]!r}"
        ) from None


def _raw(text: str, load_pem: Callable[[bytes], object]) -> bytes:
    """Return the 32 bytes of a key in base64 or PEM.

    Raises:
        one of _UNREADABLE: it is something else.
    """
    if "-----" not in text:
        return from_base64(text)
    # A variable in one line has its line breaks escaped.
    key = load_pem(text.replace("\\n", "\n").strip().encode())
    if isinstance(key, Ed25519PrivateKey):
        return key.private_bytes_raw()
    if isinstance(key, Ed25519PublicKey):
        return key.public_bytes_raw()
    raise ValueError("another kind of key")


def _development_key(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        # Only its owner can read a temporary file.
        with NamedTemporaryFile("w", dir=path.parent, prefix=f"{path.name}.") as draft:
            draft.write(f"{generate()}\n")
            draft.flush()
            # Of two processes that make one at the same time, the first one's key stays.
            with suppress(FileExistsError):
                os.link(draft.name, path)
    return path.read_text()
