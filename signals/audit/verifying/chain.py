"""Checks what needs no signal: the chain of seals, their signatures, the prunings and the checkpoints."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

from fleetprompt.tenants.models import Tenant
from signals.audit.format import heads
from signals.audit.format.heads import Signed
from signals.audit.models import Pruning, Seal
from signals.audit.publishing import checkpoints
from signals.audit.sealing.keys import PublicKeys
from signals.audit.verifying.findings import Finding


def check_seals(seals: Iterable[Signed], keys: PublicKeys) -> Iterator[Finding]:
    """Yield what is wrong with a chain of seals, from the first one on."""
    yield from _check_chain(seals, keys, "seal", "seals")


def check_prunings(prunings: Iterable[Signed], keys: PublicKeys) -> Iterator[Finding]:
    """Yield what is wrong with the records of prunings, from the first one on."""
    yield from _check_chain(prunings, keys, "pruning", "prunings")


def _check_chain(chain: Iterable[Signed], keys: PublicKeys, kind: str, what: str) -> Iterator[Finding]:
    previous, number, horizon = heads.GENESIS, 0, ""
    for link in chain:
        found, number = number + 1, int(link.head["number"])
        seal = number if kind == "seal" else int(link.head["last_seal"])
        if number != found:
            lost = str(found) if number == found + 1 else f"{found} to {number - 1}"
            yield Finding(what, f"{kind} {lost}: removed", seal=found if kind == "seal" else None)
        elif link.head["previous"] != previous:
            yield Finding(what, f"{kind} {number} does not follow on the {kind} before it", seal=seal)
        if problem := link.problem(keys):
            yield Finding(what, f"{kind} {number} was rewritten: it {problem}", seal=seal)
        # An empty seal with an earlier horizon takes back what a wrong clock made others claim.
        if str(link.head.get("horizon", "")) < horizon and link.head.get("size"):
            yield Finding(what, f"{kind} {number} has an earlier horizon than the one before", seal=seal)
        previous, horizon = link.hash, str(link.head.get("horizon", ""))


def stored_seals(tenant: Tenant, last: int) -> Iterator[Signed]:
    """Yield the heads of the active tenant's seals up to a number."""
    for seal in Seal.objects.filter(number__lte=last).order_by("number").iterator(checkpoints.CHUNK):
        yield heads.of_seal(seal, tenant)


def stored_prunings(tenant: Tenant) -> Iterator[Signed]:
    """Yield the heads of the active tenant's prunings."""
    for pruning in Pruning.objects.order_by("number"):
        yield heads.of_pruning(pruning, tenant)


def check_pruned(prunings: Iterable[Signed], tenant: Tenant) -> Iterator[Finding]:
    """Yield prunings that name another last seal than the database has."""
    for pruning in prunings:
        number = pruning.head["last_seal"]
        seal = Seal.objects.filter(number=number).first()
        if seal is None or heads.of_seal(seal, tenant).hash != pruning.head["last_hash"]:
            text = f"pruning {pruning.head['number']} ends with another seal {number} than there is"
            yield Finding("prunings", text, seal=number)


def check_checkpoints(
    tenant: Tenant, file: Path, advance: Callable[[int], None] = lambda number: None
) -> Iterator[Finding]:
    """Yield the seals that a file of checkpoints knows and the active tenant lacks, or has otherwise.

    Args:
        advance: is told the number of each seal that was compared.
    """
    lines = checkpoints.read(file)
    expected = 1
    while True:
        try:
            part = list(islice(lines, checkpoints.CHUNK))
        except checkpoints.Damaged as error:
            yield Finding("checkpoints", f"{error}: the file was changed")
            return
        if not part:
            return
        stored = Seal.objects.in_bulk([line.head["number"] for line in part])
        for line in part:
            if problem := _strange(tenant, line, file):
                yield problem
                return
            number = line.head["number"]
            if number != expected:
                yield Finding(
                    "checkpoints", f"{file} lacks seal {expected}: the file was changed", seal=expected
                )
            yield from _compare(tenant, line, stored.get(number), file)
            advance(number)
            expected = number + 1


def earlier_tenant(file: Path) -> Finding:
    """Return the finding that a file of checkpoints belongs to an earlier tenant of the same slug."""
    text = (
        f"{file} has checkpoints of an earlier tenant of this name: it was deleted and made anew, "
        "or the time of its creation was changed"
    )
    return Finding("checkpoints", text)


def _strange(tenant: Tenant, checkpoint: Signed, file: Path) -> Finding | None:
    """Return the finding that a checkpoint is not of this tenant, if it is not."""
    own = heads.identity(tenant)
    if all(checkpoint.head.get(name) == value for name, value in own.items()):
        return None
    if checkpoint.head.get("tenant") == tenant.slug:
        return earlier_tenant(file)
    return Finding("checkpoints", f"{file} has checkpoints of another tenant than {tenant.slug}")


def _compare(tenant: Tenant, checkpoint: Signed, seal: Seal | None, file: Path) -> Iterator[Finding]:
    number, size = checkpoint.head["number"], checkpoint.head.get("size")
    if seal is None:
        text = (
            f"seal {number} of {size} signals is known from {file} and is gone: "
            "it was removed, or an older backup was restored"
        )
        yield Finding("checkpoints", text, seal=number)
    elif heads.of_seal(seal, tenant).hash != checkpoint.hash:
        text = (
            f"seal {number} is another one than {file} knows: "
            "it was rewritten, or signals were sealed anew after an older backup was restored"
        )
        yield Finding("checkpoints", text, seal=number)
