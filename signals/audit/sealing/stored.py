"""Reads of the stored log: heads of seals and prunings, entries with their signals, unsealed signals."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from fleetprompt.postgres.queries import fetch_all
from fleetprompt.tenants.models import Tenant
from signals import sql
from signals.audit.format import events
from signals.audit.sealing import heads
from signals.audit.sealing.heads import Signed
from signals.models import Pruning, Seal

CHUNK_SEALS = 1_000
"""Seals in memory at a time."""
PART_SIGNALS = 1_000
"""Signals with their payloads in memory at a time."""

_ENTRIES = sql.ENTRIES.format(columns=events.COLUMNS)


class Unsealed(NamedTuple):
    """A signal that is in no seal.

    `recorded` is its time as events have it, `recorded_at` the nearest time that Python has; `seal` is the
    first seal that claims to cover it, `total` the number of all signals that the query found.
    """

    id: str
    name: str
    recorded: str
    seal: int
    recorded_at: datetime
    total: int


def newest_seal() -> Seal | None:
    """Return the active tenant's seal with the highest number."""
    return Seal.objects.order_by("-number").first()


def seals(*, after: int = 0, last: int | None = None) -> Iterator[Seal]:
    """Yield the active tenant's seals after one number and up to another, in their order."""
    upto = {} if last is None else {"number__lte": last}
    return Seal.objects.filter(number__gt=after, **upto).order_by("number").iterator(CHUNK_SEALS)


def prunings(tenant: Tenant) -> list[Signed]:
    """Return the heads of the active tenant's prunings, in their order."""
    return [heads.of(pruning, tenant) for pruning in Pruning.objects.order_by("number")]


def parts(seal: Seal, before: datetime | None = None) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the entries of a seal in their order, a part at a time.

    Args:
        before: the horizon of the seal before it.

    Returns:
        rows of the columns of `events`, all None where the signal is gone, then the entry's signal, index
        and leaf, whether the signal has a time before `before`, and its personal values as JSON.
    """
    place = 0
    while rows := fetch_all(_ENTRIES, before, seal.number, place, PART_SIGNALS):
        yield rows
        place = rows[-1][events.WIDTH + 1] + 1


def unsealed_before(until: datetime | None, limit: int) -> list[Unsealed]:
    """Return the first signals that were recorded before a time and are in no seal."""
    return [Unsealed(*row) for row in fetch_all(sql.UNSEALED_BEFORE, until, limit)]
