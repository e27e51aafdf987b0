"""Exports: the sealed log as signed JSON Lines of CloudEvents, which can be checked without the database.

The file has the events of each seal in their order, then the seal itself. After an event with commitments
come its openings, unless they were erased. A pruning follows the last seal that it covers, and a signed
trailer ends the file. A line that begins with `head` is a seal, a pruning or the trailer, one that begins
with `personal` has openings; every other line is an event, byte by byte as it was sealed.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from django.utils import timezone

from fleetprompt.errors import Refused
from fleetprompt.tenants.context import active_tenant
from fleetprompt.tenants.models import Tenant
from signals.audit.format import canonical, events, merkle, openings
from signals.audit.publishing.proofs import Invalid
from signals.audit.sealing import heads, keys, locks, stored
from signals.audit.sealing.heads import Signed
from signals.audit.sealing.keys import PublicKeys
from signals.models import Seal
from signals.types import COMMITMENT, commitments

MAX_LINE_BYTES = 64 * 1024 * 1024
"""Bytes of a line that a check accepts."""
_HEAD_PREFIX = b'{"head":'
"""The beginning of a line that is no event; in canonical form an event begins with its actor."""
_OPENINGS_PREFIX = b'{"personal":'
"""The beginning of a line with the openings of the event before it."""
_COMMITMENT = f'"{COMMITMENT}"'.encode()


@dataclass
class Contents:
    """A summary of an export: the tenant's slug, how many seals and signals, and its time (RFC 3339).

    The seals up to `pruned_seals` have no events any more; `erased` signals have no openings any more.
    """

    tenant: str
    seals: int
    signals: int
    pruned_seals: int
    erased: int
    exported_at: str


def export(*, advance: Callable[[int], None] = lambda step: None) -> Iterator[bytes]:
    """Yield the lines of the active tenant's sealed log.

    Args:
        advance: is called with the number of signals that were written since the last call.

    Raises:
        KeyMissing: no key signs.
        Refused: stored signals do not fit their seals, or nothing is sealed.
    """
    tenant, key = active_tenant(), keys.private_key()
    newest = stored.newest_seal()
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
        "exported_at": heads.timestamp(timezone.now()),
    }
    yield heads.sign(trailer, key).line


def _lines(tenant: Tenant, last: int, advance: Callable[[int], None]) -> Iterator[bytes]:
    prunings = {pruning.head["last_seal"]: pruning for pruning in stored.prunings(tenant)}
    pruned = max(prunings, default=0)
    for seal in stored.seals(last=last):
        if seal.number > pruned:
            yield from _events(tenant, seal, advance)
        yield heads.of(seal, tenant).line
        if seal.number in prunings:
            yield prunings[seal.number].line


def _events(tenant: Tenant, seal: Seal, advance: Callable[[int], None]) -> Iterator[bytes]:
    tree = merkle.Tree()
    for rows in stored.parts(seal):
        for row in rows:
            if row[events.ID] is None:
                raise Refused(f"signal {row[events.WIDTH]} is gone: run audit verify")
            form = events.event(row, tenant.slug)
            tree.add(merkle.leaf_hash(form))
            yield form + b"\n"
            if (personal := row[-1]) is not None:
                found = openings.read(row[events.ID], row[events.DATA], personal)
                yield canonical.dumps({"personal": found}) + b"\n"
        advance(len(rows))
    if tree.root().hex() != seal.root:
        raise Refused(f"the signals of seal {seal.number} are not as they were sealed: run audit verify")


def check(lines: Iterable[bytes], public_keys: PublicKeys) -> Contents:
    """Return a summary of an export, if everything in it fits.

    Args:
        lines: of the file, each with its line break.

    Raises:
        Invalid: naming the line and the fault.
    """
    found = _Check(public_keys)
    for number, line in enumerate(lines, start=1):
        try:
            found.take(line)
        except Invalid as fault:
            raise Invalid(f"line {number}: {fault}") from None
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise Invalid(f"line {number}: this is no line of an export; {error}") from None
    return found.end()


class _Check:
    """Reads an export line by line, and keeps no more than the hashes of one seal's tree."""

    def __init__(self, public_keys: PublicKeys) -> None:
        self._keys = public_keys
        self._digest = sha256()
        self._tree = merkle.Tree()
        self._lines = self._events = self._last_empty = self._erased = 0
        self._committed: Any = None
        self._seal: Signed | None = None
        self._pruning: Signed | None = None
        self._trailer: Signed | None = None

    def take(self, line: bytes) -> None:
        """Take the next line, or raise `Invalid` with its fault."""
        self._check(line)
        self._digest.update(line)
        self._lines += 1

    def _check(self, line: bytes) -> None:
        if self._trailer:
            raise Invalid("it follows the end of the export")
        if len(line) > MAX_LINE_BYTES:
            raise Invalid(f"it is longer than {MAX_LINE_BYTES} bytes")
        if not line.endswith(b"\n"):
            raise Invalid("it is cut off")
        if line.startswith(_OPENINGS_PREFIX):
            self._take_openings(canonical.reload(line))
            return
        self._erased += self._committed is not None
        self._committed = None
        if line.startswith(_HEAD_PREFIX):
            self._take_head(line)
        else:
            self._take_event(line[:-1])

    def _take_head(self, line: bytes) -> None:
        signed = heads.read(canonical.reload(line))
        if signed.line != line:
            raise Invalid("it is not in canonical form")
        if problem := signed.problem(self._keys):
            raise Invalid(f"its head {problem}")
        match signed.head["kind"]:
            case "seal":
                self._take_seal(signed)
            case "pruning":
                self._take_pruning(signed)
            case "export":
                self._take_trailer(signed)
            case _:
                raise Invalid("it has an unknown kind")

    def _take_event(self, form: bytes) -> None:
        # The seal that follows covers all its bytes.
        self._tree.add(merkle.leaf_hash(form))
        self._events += 1
        if _COMMITMENT in form and commitments(data := canonical.reload(form)["data"]):
            self._committed = data

    def _take_openings(self, line: Any) -> None:
        data, self._committed = self._committed, None
        if wrong := openings.problem(data, line["personal"]):
            raise Invalid(wrong)
        if line.keys() != {"personal"} or data is None:
            raise Invalid("it has more than openings, or follows no event with commitments")

    def _take_seal(self, seal: Signed) -> None:
        last, number = self._seal, seal.head["number"]
        if number != (last.head["number"] + 1 if last else 1):
            raise Invalid(f"seal {number} does not come next")
        if not seal.follows(last):
            raise Invalid(f"seal {number} does not follow on the seal before it")
        if last and _tenant(last) != _tenant(seal):
            raise Invalid(f"seal {number} is another tenant's")
        if self._tree.size:
            if (self._tree.size, self._tree.root().hex()) != (seal.head["size"], seal.head["root"]):
                raise Invalid(f"the events before it are not those of seal {number}")
        elif seal.head["size"]:
            self._last_empty = number
        self._seal, self._tree = seal, merkle.Tree()

    def _take_pruning(self, pruning: Signed) -> None:
        if self._seal is None or self._tree.size or pruning.head["last_hash"] != self._seal.hash:
            raise Invalid("a pruning ends with another seal")
        if not pruning.follows(self._pruning) or _tenant(pruning) != _tenant(self._seal):
            raise Invalid("a pruning does not follow on the one before it")
        self._pruning = pruning

    def _take_trailer(self, trailer: Signed) -> None:
        if self._seal is None or self._tree.size or _tenant(trailer) != _tenant(self._seal):
            raise Invalid("the end of the export does not fit what it ends")
        if (trailer.head["lines"], trailer.head["sha256"]) != (self._lines, self._digest.hexdigest()):
            raise Invalid("lines are missing, added or changed before the end of the export")
        self._trailer = trailer

    def end(self) -> Contents:
        """Return the summary.

        Raises:
            Invalid: the export has no end, or events are missing that no pruning removed.
        """
        if self._trailer is None or self._seal is None:
            raise Invalid("the export is cut off: it has no signed end")
        pruned = self._pruning.head["last_seal"] if self._pruning else 0
        if self._last_empty > pruned:
            raise Invalid(f"the events of seal {self._last_empty} are missing, and no pruning took them")
        end = self._trailer.head
        return Contents(
            end["tenant"],
            self._seal.head["number"],
            self._events,
            pruned,
            self._erased,
            end["exported_at"],
        )


def _tenant(signed: Signed) -> tuple[Any, Any]:
    return signed.head["tenant"], signed.head["created"]
