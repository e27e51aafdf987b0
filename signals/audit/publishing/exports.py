"""The sealed log as a file: signed JSON Lines of CloudEvents with their seals, checked without a database.

For each seal stand its events, in their order, and then the seal itself; prunings follow the last seal they
cover, and a signed trailer ends the file. A line that begins with `head` is a seal, a pruning or the
trailer; every other one is an event, byte by byte as it was sealed.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from django.utils import timezone

from fleetprompt.errors import Refused
from fleetprompt.tenants.context import active_tenant
from fleetprompt.tenants.models import Tenant
from signals.audit.format import canonical, events, heads, merkle
from signals.audit.format.heads import Signed
from signals.audit.models import Seal
from signals.audit.publishing import checkpoints
from signals.audit.publishing.proofs import Invalid
from signals.audit.sealing import keys, locks
from signals.audit.sealing.keys import PublicKeys
from signals.audit.verifying import chain
from signals.audit.verifying.walk import parts

LONGEST = 64 * 1024 * 1024
"""Bytes of a line that a check accepts."""
_SIGNED = b'{"head":'
"""How a line begins that is no event; in canonical form an event begins with its actor."""


@dataclass
class Contents:
    """What an export holds.

    Args:
        tenant: the slug of the tenant whose signals they are.
        seals: how many seals.
        signals: how many events.
        pruned_seals: the seals up to this number have no events any more.
        exported_at: when it was written, RFC 3339.
    """

    tenant: str
    seals: int
    signals: int
    pruned_seals: int
    exported_at: str


def export(*, advance: Callable[[int], None] = lambda step: None) -> Iterator[bytes]:
    """Yield the lines of the active tenant's sealed log.

    Args:
        advance: is told how many signals were written since it was told last.

    Raises:
        NoActiveTenant: called outside `in_tenant`.
        KeyMissing: no key signs.
        Refused: what is stored does not fit its seals, or nothing is sealed.
    """
    tenant, key = active_tenant(), keys.private_key()
    newest = Seal.objects.order_by("-number").first()
    if newest is None:
        raise Refused("nothing is sealed yet: run audit seal")
    digest, lines = sha256(), 0
    with locks.reading():
        for line in _lines(tenant, newest.number, advance):
            digest.update(line)
            lines += 1
            yield line
    trailer = {
        "kind": "export",
        **heads.identity(tenant),
        "lines": lines,
        "sha256": digest.hexdigest(),
        "last_seal": newest.number,
        "exported_at": heads.moment(timezone.now()),
    }
    yield heads.sign(trailer, key).line


def _lines(tenant: Tenant, last: int, advance: Callable[[int], None]) -> Iterator[bytes]:
    prunings = {pruning.head["last_seal"]: pruning for pruning in chain.stored_prunings(tenant)}
    pruned = max(prunings, default=0)
    for seal in Seal.objects.filter(number__lte=last).order_by("number").iterator(checkpoints.CHUNK):
        if seal.number > pruned:
            yield from _events(tenant, seal, advance)
        yield heads.of_seal(seal, tenant).line
        if seal.number in prunings:
            yield prunings[seal.number].line


def _events(tenant: Tenant, seal: Seal, advance: Callable[[int], None]) -> Iterator[bytes]:
    tree = merkle.Tree()
    for rows in parts(seal):
        for row in rows:
            if row[events.ID] is None:
                raise Refused(f"signal {row[events.WIDTH]} is gone: run audit verify")
            form = events.event(row, tenant.slug)
            tree.add(merkle.leaf_hash(form))
            yield form + b"\n"
        advance(len(rows))
    if tree.root().hex() != seal.root:
        raise Refused(f"the signals of seal {seal.number} are not as they were sealed: run audit verify")


def check(lines: Iterable[bytes], public_keys: PublicKeys) -> Contents:
    """Return what an export holds, if everything in it fits.

    Args:
        lines: of the file, each with its line break.

    Raises:
        Invalid: naming the line and what does not fit.
    """
    found = _Check(public_keys)
    for number, line in enumerate(lines, start=1):
        try:
            found.take(number, line)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise Invalid(f"line {number}: this is no line of an export; {error}") from None
    return found.end()


class _Check:
    """Goes through an export line by line, and remembers no more than the events of one seal."""

    def __init__(self, public_keys: PublicKeys) -> None:
        self._keys = public_keys
        self._digest = sha256()
        self._lines = 0
        self._tree = merkle.Tree()
        self._last_empty = 0
        self._events = 0
        self._seal: Signed | None = None
        self._pruning: Signed | None = None
        self._trailer: Signed | None = None

    def take(self, number: int, line: bytes) -> None:
        """Take the next line."""
        if self._trailer:
            raise Invalid(f"line {number}: something follows the end of the export")
        if len(line) > LONGEST:
            raise Invalid(f"line {number} is longer than {LONGEST} bytes")
        if not line.endswith(b"\n"):
            raise Invalid(f"line {number} is cut off")
        if not line.startswith(_SIGNED):
            # Nothing else about it matters: the seal that follows knows its bytes.
            self._tree.add(merkle.leaf_hash(line[:-1]))
            self._events += 1
        else:
            signed = heads.read(canonical.reload(line))
            if signed.line != line:
                raise Invalid(f"line {number} is not in canonical form")
            if problem := signed.problem(self._keys):
                raise Invalid(f"line {number}: what it says {problem}")
            self._take_signed(number, signed)
        self._digest.update(line)
        self._lines += 1

    def _take_signed(self, number: int, signed: Signed) -> None:
        take: dict[object, Callable[[Signed], str]] = {
            "seal": self._take_seal,
            "pruning": self._take_pruning,
            "export": self._take_trailer,
        }
        handle = take.get(signed.head["kind"])
        if problem := handle(signed) if handle else "an unknown kind of line":
            raise Invalid(f"line {number}: {problem}")

    def _take_seal(self, seal: Signed) -> str:
        last, number = self._seal, seal.head["number"]
        if number != (last.head["number"] + 1 if last else 1):
            return f"seal {number} does not come next"
        if seal.head["previous"] != (last.hash if last else heads.GENESIS):
            return f"seal {number} does not follow on the seal before it"
        if last and _whose(last) != _whose(seal):
            return f"seal {number} is another tenant's"
        if self._tree.size:
            if (self._tree.size, self._tree.root().hex()) != (seal.head["size"], seal.head["root"]):
                return f"the events before it are not those of seal {number}"
        elif seal.head["size"]:
            self._last_empty = number
        self._seal, self._tree = seal, merkle.Tree()
        return ""

    def _take_pruning(self, pruning: Signed) -> str:
        last = self._pruning
        if self._seal is None or self._tree.size or pruning.head["last_hash"] != self._seal.hash:
            return "a pruning ends with another seal"
        if pruning.head["previous"] != (last.hash if last else heads.GENESIS) or _whose(pruning) != _whose(
            self._seal
        ):
            return "a pruning does not follow on the one before it"
        self._pruning = pruning
        return ""

    def _take_trailer(self, trailer: Signed) -> str:
        if self._seal is None or self._tree.size or _whose(trailer) != _whose(self._seal):
            return "the end of the export does not fit what it ends"
        if (trailer.head["lines"], trailer.head["sha256"]) != (self._lines, self._digest.hexdigest()):
            return "lines are missing, added or changed before the end of the export"
        self._trailer = trailer
        return ""

    def end(self) -> Contents:
        """Return what the export holds.

        Raises:
            Invalid: it has no end, or events are missing that no pruning took.
        """
        if self._trailer is None or self._seal is None:
            raise Invalid("the export is cut off: it has no signed end")
        pruned = self._pruning.head["last_seal"] if self._pruning else 0
        if self._last_empty > pruned:
            raise Invalid(f"the events of seal {self._last_empty} are missing, and no pruning took them")
        return Contents(
            tenant=self._trailer.head["tenant"],
            seals=self._seal.head["number"],
            signals=self._events,
            pruned_seals=pruned,
            exported_at=self._trailer.head["exported_at"],
        )


def _whose(signed: Signed) -> tuple[Any, Any]:
    return signed.head["tenant"], signed.head["created"]
