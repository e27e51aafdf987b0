"""Chain checks, which need no signal: seals and prunings, their signatures, and the checkpoints."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

from fleetprompt.tenants.models import Tenant
from signals.audit.sealing import checkpoints, heads
from signals.audit.sealing.heads import Signed
from signals.audit.sealing.keys import PublicKeys
from signals.audit.sealing.stored import CHUNK_SEALS
from signals.audit.verifying.findings import Finding
from signals.models import Seal


def check(links: Iterable[Signed], keys: PublicKeys, kind: str) -> Iterator[Finding]:
    """Yield what is wrong with the numbers, links, signatures and horizons of a chain.

    Args:
        links: the heads from the first one on.
        kind: `seal` or `pruning`.
    """
    what, last, horizon = f"{kind}s", None, ""
    for link in links:
        expected = last.head["number"] + 1 if last else 1
        number = int(link.head["number"])
        seal = number if kind == "seal" else int(link.head["last_seal"])
        if number != expected:
            lost = str(expected) if number == expected + 1 else f"{expected} to {number - 1}"
            yield Finding(what, f"{kind} {lost}: removed", seal=expected if kind == "seal" else None)
        elif not link.follows(last):
            yield Finding(what, f"{kind} {number} does not follow on the {kind} before it", seal=seal)
        if problem := link.problem(keys):
            yield Finding(what, f"{kind} {number} was rewritten: it {problem}", seal=seal)
        # An empty seal with an earlier horizon takes back what a wrong clock made others claim.
        if str(link.head.get("horizon", "")) < horizon and link.head.get("size"):
            yield Finding(what, f"{kind} {number} has an earlier horizon than the one before", seal=seal)
        last, horizon = link, str(link.head.get("horizon", ""))


def check_pruned(prunings: Iterable[Signed], tenant: Tenant) -> Iterator[Finding]:
    """Yield the prunings whose last seal is not the one in the database."""
    for pruning in prunings:
        number = pruning.head["last_seal"]
        seal = Seal.objects.filter(number=number).first()
        if seal is None or heads.of(seal, tenant).hash != pruning.head["last_hash"]:
            text = f"pruning {pruning.head['number']} ends with another seal {number} than there is"
            yield Finding("prunings", text, seal=number)


def check_checkpoints(
    tenant: Tenant, file: Path, advance: Callable[[int], None] = lambda number: None
) -> Iterator[Finding]:
    """Yield the differences between a file of checkpoints and the active tenant's seals.

    Args:
        advance: is called with the number of each seal that was compared.
    """
    lines, expected = checkpoints.read(file), 1
    try:
        while part := list(islice(lines, CHUNK_SEALS)):
            stored = Seal.objects.in_bulk([line.head["number"] for line in part])
            for line in part:
                if not line.head.items() >= heads.identity(tenant).items():
                    other = Finding(
                        "checkpoints", f"{file} has checkpoints of another tenant than {tenant.slug}"
                    )
                    yield earlier_tenant(file) if line.head.get("tenant") == tenant.slug else other
                    return
                number = line.head["number"]
                if number != expected:
                    text = f"{file} lacks seal {expected}: the file was changed"
                    yield Finding("checkpoints", text, seal=expected)
                if text := _difference(tenant, line, stored.get(number), file):
                    yield Finding("checkpoints", text, seal=number)
                advance(number)
                expected = number + 1
    except checkpoints.Damaged as error:
        yield Finding("checkpoints", f"{error}: the file was changed")


def earlier_tenant(file: Path) -> Finding:
    """Return the finding that a file of checkpoints belongs to an earlier tenant of the same slug."""
    text = (
        f"{file} has checkpoints of an earlier tenant of this name: it was deleted and made anew, "
        "or the time of its creation was changed"
    )
    return Finding("checkpoints", text)


def _difference(tenant: Tenant, checkpoint: Signed, seal: Seal | None, file: Path) -> str:
    """Return the sentence about a seal that differs from its checkpoint, or ""."""
    number, size = checkpoint.head["number"], checkpoint.head.get("size")
    if seal is None:
        return (
            f"seal {number} of {size} signals is known from {file} and is gone: "
            "it was removed, or an older backup was restored"
        )
    if heads.of(seal, tenant).hash != checkpoint.hash:
        return (
            f"seal {number} differs from the one in {file}: "
            "it was rewritten, or signals were sealed anew after an older backup was restored"
        )
    return ""
