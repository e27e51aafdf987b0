"""The keys that sign seals: Ed25519 (RFC 8032), from the settings, or made on first use in development."""

import base64
import binascii
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from django.conf import settings

from fleetprompt.errors import Refused

PublicKeys = Mapping[str, "PublicKey"]
"""Public keys by their ids."""


class KeyUnusable(Refused):
    """Signing was asked for, and what should be the private key is none."""


class KeyMissing(KeyUnusable):
    """Signing was asked for, and the settings have no private key."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """What verifies signatures.

    Args:
        raw: the key's 32 bytes.
    """

    raw: bytes

    @property
    def id(self) -> str:
        """The name of the key in what it signed: the SHA-256 of its bytes, in hexadecimal digits."""
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
    """What signs.

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
        what: what an error calls them.

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
    try:
        raw = base64.b64decode(text.strip(), validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None
    if len(raw) != 32:
        raise ValueError("not 32 bytes")
    return raw


def _private(what: str, text: str) -> PrivateKey:
    try:
        if "-----" in text:
            key = load_pem_private_key(_pem(text), password=None)
            if isinstance(key, Ed25519PrivateKey):
                return PrivateKey(key.private_bytes_raw())
        else:
            return PrivateKey(from_base64(text))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        pass
    raise KeyUnusable(
        f"{what}: expected an Ed25519 private key, base64 of 32 bytes or PEM without a password"
    )


def _public(what: str, text: str) -> PublicKey:
    try:
        if "-----" not in text:
            return PublicKey(from_base64(text))
        key = load_pem_public_key(_pem(text))
        if isinstance(key, Ed25519PublicKey):
            return PublicKey(key.public_bytes_raw())
    except (ValueError, UnsupportedAlgorithm):
        pass
    raise Refused(
        f"{what}: expected Ed25519 public keys, each base64 of 32 bytes or PEM; got {text[:80]!r}"
    )


def _pem(text: str) -> bytes:
    # A variable in one line has its line breaks escaped.
    return text.replace("\\n", "\n").strip().encode()


def _development_key(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    if not path.exists():
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(f"{generate()}\n")
        try:
            # Of two processes that make one at the same time, the first one's stays.
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text()
