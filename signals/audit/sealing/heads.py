"""Signed heads: small JSON objects in canonical form, one kind each for seals, prunings and exports."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, TypeVar

from fleetprompt.tenants.models import Tenant
from signals.audit.format import canonical
from signals.audit.format.events import check_named
from signals.audit.sealing.keys import PrivateKey, PublicKeys
from signals.models import Pruning, Seal

VERSION = 1
"""The version of the canonical form and of the heads."""
GENESIS = "0" * 64
"""The hash that the first seal and the first pruning name as that of the one before."""

RowT = TypeVar("RowT", Seal, Pruning)

_LINK = ("number", "previous")
_COLUMNS: dict[type[Seal | Pruning], tuple[str, ...]] = {
    Seal: (*_LINK, "root", "size", "horizon", "sealed_at"),
    Pruning: (*_LINK, "last_seal", "last_hash", "signals", "before", "pruned_at"),
}
"""The columns that a head has besides the key."""
# A trigger reads the transaction's number while the row is inserted; later it proves nothing.
check_named(Seal, sealed=(*_COLUMNS[Seal], "key"), left_out=("signature",))
check_named(Pruning, sealed=(*_COLUMNS[Pruning], "key"), left_out=("signature", "transaction"))


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
        """The SHA-256 of the head's canonical form, in hexadecimal digits: the next head names it."""
        return sha256(_form(self.head)).hexdigest()

    @property
    def document(self) -> dict[str, Any]:
        """Head and signature in one JSON object."""
        return {"head": dict(self.head), "signature": self.signature}

    @property
    def line(self) -> bytes:
        """The document in canonical form, with a line break."""
        return canonical.dumps(self.document, is_plain=True) + b"\n"

    def follows(self, last: "Signed | None") -> bool:
        """Return whether the head names the one before it, or none as the first."""
        return bool(self.head["previous"] == (last.hash if last else GENESIS))

    def problem(self, keys: PublicKeys) -> str:
        """Return why the signature is invalid, as a predicate of a sentence; "" if it is valid."""
        key = keys.get(str(self.head.get("key")))
        if key is None:
            return f"is signed with an unknown key ({str(self.head.get('key'))[:12]}…)"
        return "" if key.verifies(self.signature, _form(self.head)) else "does not fit its signature"


def sign(head: Mapping[str, Any], key: PrivateKey) -> Signed:
    """Return the head, with version and key, and its signature."""
    whole = {**head, "version": VERSION, "key": key.public.id}
    return Signed(whole, key.sign(_form(whole)))


def read(document: object) -> Signed:
    """Return the head of a document that `Signed.document` made.

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


def of(row: Seal | Pruning, tenant: Tenant) -> Signed:
    """Return the head of a seal or a pruning as its signature must cover it."""
    columns = {name: getattr(row, name) for name in _COLUMNS[type(row)]}
    values = {name: timestamp(one) if isinstance(one, datetime) else one for name, one in columns.items()}
    head = {
        "kind": row._meta.model_name,
        **identity(tenant),
        **values,
        "version": VERSION,
        "key": row.key,
    }
    return Signed(head, row.signature)


def following(last: RowT | None, model: type[RowT], tenant: Tenant, key: PrivateKey, **values: Any) -> RowT:
    """Return a signed row that follows on `last`; it is not stored yet."""
    row = model(
        number=last.number + 1 if last else 1,
        previous=of(last, tenant).hash if last else GENESIS,
        key=key.public.id,
        **values,
    )
    row.signature = sign(of(row, tenant).head, key).signature
    return row


def identity(tenant: Tenant) -> dict[str, str]:
    """Return the fields that tell a tenant from others, also from an earlier one of the same slug."""
    return {"tenant": tenant.slug, "created": timestamp(tenant.created_at)}


def timestamp(value: datetime) -> str:
    """Return a time as heads have it: RFC 3339 in UTC, to the microsecond."""
    return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _form(head: Mapping[str, Any]) -> bytes:
    return canonical.dumps(dict(head))
