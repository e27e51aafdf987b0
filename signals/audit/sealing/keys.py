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
from typing import Any

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
    """A key that verifies signatures."""

    key: Ed25519PublicKey

    @property
    def id(self) -> str:
        """The name of the key in signed heads: the SHA-256 of its bytes, in hexadecimal digits."""
        return sha256(self.key.public_bytes_raw()).hexdigest()

    def __str__(self) -> str:
        return base64.b64encode(self.key.public_bytes_raw()).decode()

    def verifies(self, signature: str, data: bytes) -> bool:
        """Return whether `signature`, in base64, is this key's over `data`."""
        with suppress(InvalidSignature, ValueError):
            self.key.verify(base64.b64decode(signature, validate=True), data)
            return True
        return False


class PrivateKey:
    """A key that signs."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = PublicKey(key.public_key())

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
        return parse_private(settings.AUDIT_KEY, "AUDIT_KEY")
    if settings.AUDIT_KEY_FILE is None:
        raise KeyMissing(
            "AUDIT_KEY: expected a private key, because DEBUG is off; `audit generate-key` makes one"
        )
    return parse_private(_development_key(settings.AUDIT_KEY_FILE), settings.AUDIT_KEY_FILE)


def parse_private(text: str, what: object) -> PrivateKey:
    """Return a private key, given as base64 of 32 bytes or as PEM.

    Raises:
        KeyUnusable: naming `what`: it is no Ed25519 key.
    """
    load_pem = partial(load_pem_private_key, password=None)
    try:
        return PrivateKey(_key(text, Ed25519PrivateKey, Ed25519PrivateKey.from_private_bytes, load_pem))
    except _UNREADABLE:
        raise KeyUnusable(
            f"{what}: expected an Ed25519 private key, base64 of 32 bytes or PEM without a password"
        ) from None


def trusted_keys() -> PublicKeys:
    """Return the public keys whose signatures count: those of `AUDIT_PUBLIC_KEYS` and that of the own key.

    Raises:
        Refused: one of them is no Ed25519 key, or `DEBUG` is off and there is none.
    """
    found, file = public_keys(settings.AUDIT_PUBLIC_KEYS, "AUDIT_PUBLIC_KEYS"), settings.AUDIT_KEY_FILE
    # Only what signs makes a key.
    if settings.AUDIT_KEY or (file.exists() if file else not found):
        own = private_key().public
        return {**found, own.id: own}
    return found


def public_keys(texts: Iterable[str], what: str) -> PublicKeys:
    """Return public keys, given as base64 of 32 bytes or as PEM, by their ids.

    Raises:
        Refused: naming `what`: one of them is no Ed25519 key.
    """
    found = {}
    for text in texts:
        try:
            key = _key(text, Ed25519PublicKey, Ed25519PublicKey.from_public_bytes, load_pem_public_key)
        except _UNREADABLE:
            raise Refused(
                f"{what}: expected Ed25519 public keys, each base64 of 32 bytes or PEM; got {text[:80]!r}"
            ) from None
        public = PublicKey(key)
        found[public.id] = public
    return found


def generate() -> str:
    """Return a new private key, base64 of its 32 bytes."""
    return base64.b64encode(Ed25519PrivateKey.generate().private_bytes_raw()).decode()


def _key(
    text: str, kind: type[Any], from_bytes: Callable[[bytes], Any], load_pem: Callable[[bytes], Any]
) -> Any:
    """Return the key in a text of base64 or PEM; for anything else raise one of `_UNREADABLE`."""
    if "-----" not in text:
        return from_bytes(base64.b64decode(text.strip(), validate=True))
    # A variable in one line has its line breaks escaped.
    key = load_pem(text.replace("\\n", "\n").strip().encode())
    if not isinstance(key, kind):
        raise ValueError("another kind of key")
    return key


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
