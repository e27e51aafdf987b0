"""Proofs that a signal is in the log; checking one needs the public key and no database."""

from typing import Any
from uuid import UUID

from fleetprompt.errors import Refused
from fleetprompt.postgres.queries import fetch_all
from fleetprompt.tenants.context import active_tenant
from signals import sql
from signals.audit.format import canonical, events, merkle, openings
from signals.audit.sealing import heads, locks
from signals.audit.sealing.keys import PublicKeys
from signals.models import Seal, SealEntry

KIND = "fleetprompt.audit.proof"
_FIELDS = {"kind", "event", "index", "path", "seal"}
_SIGNAL = sql.SIGNAL.format(columns=events.COLUMNS)


class Invalid(Refused):
    """A proof or an export is not valid; the text says why."""


def prove(signal_id: UUID) -> dict[str, Any]:
    """Return an inclusion proof of a signal of the active tenant.

    Returns:
        `kind`; `event`, the signal as a CloudEvents object; `index`, its place in the seal; `path`, the
        siblings' hashes up to the root; `seal`, the seal's head and signature; `personal`, the openings of
        the event's commitments, unless there are none or they were erased.

    Raises:
        Refused: there is no such signal, it is not sealed yet, or it is not as it was sealed.
    """
    tenant = active_tenant()
    with locks.reading():
        rows = fetch_all(_SIGNAL, signal_id)
        if not rows:
            raise Refused(
                f"signal: tenant {tenant.slug} has no signal {signal_id}; it may have been pruned"
            )
        form = events.event(rows[0], tenant.slug)
        entry = SealEntry.objects.filter(signal_id=signal_id).first()
        if entry is None:
            raise Refused(f"signal {signal_id} is in no seal yet: run audit seal")
        seal = Seal.objects.filter(number=entry.seal).first()
        if seal is None:
            raise Refused(f"seal {entry.seal} is gone: run audit verify")
        in_seal = SealEntry.objects.filter(seal=entry.seal).order_by("index")
        leaves = [bytes(leaf) for leaf in in_seal.values_list("leaf", flat=True)]
    proof = {
        "kind": KIND,
        "event": canonical.reload(form),
        "index": entry.index,
        "path": [sibling.hex() for sibling in merkle.path(leaves, entry.index)],
        "seal": heads.of(seal, tenant).document,
    }
    if _root(proof, seal.size) != seal.root:
        raise Refused(
            f"signal {signal_id} or its seal {entry.seal} is not as it was sealed: run audit verify"
        )
    personal = rows[0][events.WIDTH]
    if personal is not None:
        proof["personal"] = openings.read(signal_id, rows[0][events.DATA], personal)
    return proof


def check(text: str | bytes, keys: PublicKeys) -> dict[str, Any]:
    """Return the proof in `text`, if it holds.

    Raises:
        Invalid: naming the fault.
    """
    try:
        proof: dict[str, Any] = canonical.reload(text)
        if not isinstance(proof, dict) or proof.keys() - {"personal"} != _FIELDS or proof["kind"] != KIND:
            raise Invalid(f"this is no proof: expected an object with {', '.join(sorted(_FIELDS))}")
        seal = heads.read(proof["seal"])
        if seal.head.get("kind") != "seal" or not isinstance(seal.head.get("size"), int):
            raise Invalid("the proof does not hold: what is signed is no seal")
        if problem := seal.problem(keys):
            raise Invalid(f"the proof does not hold: its seal {problem}")
        if _root(proof, seal.head["size"]) != seal.head["root"]:
            raise Invalid("the proof does not hold: the event is not the one at this place of the seal")
        if "personal" in proof and (wrong := openings.problem(proof["event"]["data"], proof["personal"])):
            raise Invalid(f"the proof does not hold: {wrong}")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise Invalid(f"this is no proof: {error}") from None
    return proof


def _root(proof: dict[str, Any], size: int) -> str | None:
    leaf = merkle.leaf_hash(canonical.dumps(proof["event"]))
    siblings = [bytes.fromhex(sibling) for sibling in proof["path"]]
    index = proof["index"]
    if not isinstance(index, int) or isinstance(index, bool):
        raise ValueError("index: expected an integer")
    root = merkle.root_from_path(leaf, index, size, siblings)
    return root.hex() if root else None
