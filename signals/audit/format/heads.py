"""What is signed: small JSON objects in canonical form, one kind for seals, one for prunings, and so on."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from fleetprompt.tenants.models import Tenant
from signals.audit.format import canonical
from signals.audit.models import Pruning, Seal
from signals.audit.sealing.keys import PrivateKey, PublicKeys

VERSION = 1
"""The version of the canonical form and of the heads; a later form is told from this one by it."""
GENESIS = "0" * 64
"""What stands in the first seal, and the first pruning, for the hash of the one before."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A head with its signature.

    Args:
        head: a JSON object with `kind`, `version` and `key` (the id of the key that signed it).
        signature: base64 of an Ed25519 signature over the head's canonical form.
    """

    head: Mapping[str, Any]
    signature: str

    @property
    def hash(self) -> str:
        """The SHA-256 of the head's canonical form, in hexadecimal digits: what the next one names."""
        return sha256(_form(self.head)).hexdigest()

    @property
    def document(self) -> dict[str, Any]:
        """Both in one JSON object."""
        return {"head": dict(self.head), "signature": self.signature}

    @property
    def line(self) -> bytes:
        """The document in canonical form, with a line break."""
        return canonical.dumps(self.document, is_plain=True) + b"\n"

    def problem(self, keys: PublicKeys) -> str:
        """Return what is wrong with the signature, or nothing."""
        key = keys.get(str(self.head.get("key")))
        if key is None:
            return f"is signed with an unknown key ({str(self.head.get('key'))[:12]}…)"
        return "" if key.verifies(self.signature, _form(self.head)) else "does not fit its signature"


def sign(head: Mapping[str, Any], key: PrivateKey) -> Signed:
    """Return the head, with the key's id in it, and its signature."""
    whole = {**head, "version": VERSION, "key": key.public.id}
    return Signed(whole, key.sign(_form(whole)))


def read(document: object) -> Signed:
    """Return what `Signed.document` wrote.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(document, dict) or set(document) != {"head", "signature"}:
        raise ValueError("expected an object with head and signature")
    head, signature = document["head"], document["signature"]
    if not isinstance(head, dict) or not isinstance(signature, str):
        raise ValueError("expected an object as head and a text as signature")
    try:
        _form(head)
    except (ValueError, RecursionError):
        raise ValueError("expected a head that has a canonical form") from None
    return Signed(head, signature)


def of_seal(seal: Seal, tenant: Tenant) -> Signed:
    """Return the head of a stored seal as its signature must cover it."""
    own = {
        "kind": "seal",
        **identity(tenant),
        "number": seal.number,
        "previous": seal.previous,
        "root": seal.root,
        "size": seal.size,
        "horizon": moment(seal.horizon),
        "sealed_at": moment(seal.sealed_at),
    }
    return Signed({**own, "version": VERSION, "key": seal.key}, seal.signature)


def of_pruning(pruning: Pruning, tenant: Tenant) -> Signed:
    """Return the head of a stored pruning as its signature must cover it."""
    own = {
        "kind": "pruning",
        **identity(tenant),
        "number": pruning.number,
        "previous": pruning.previous,
        "last_seal": pruning.last_seal,
        "last_hash": pruning.last_hash,
        "signals": pruning.signals,
        "before": moment(pruning.before),
        "pruned_at": moment(pruning.pruned_at),
    }
    return Signed({**own, "version": VERSION, "key": pruning.key}, pruning.signature)


def identity(tenant: Tenant) -> dict[str, str]:
    """Return what tells a tenant from others, also from an earlier one of the same slug."""
    return {"tenant": tenant.slug, "created": moment(tenant.created_at)}


def moment(value: datetime) -> str:
    """Return a time as heads have it: RFC 3339 in UTC, to the microsecond."""
    return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _form(head: Mapping[str, Any]) -> bytes:
    return canonical.dumps(dict(head))
