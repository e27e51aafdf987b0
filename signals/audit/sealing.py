"""Seals new signals: a signed Merkle root over each batch, without making emitters wait."""

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from django.db import IntegrityError, connection, transaction

from fleetprompt.errors import Refused
from fleetprompt.postgres.silence import limit_silence
from fleetprompt.tenants.context import active_tenant
from fleetprompt.tenants.models import Tenant
from signals.audit import checkpoints, events, heads, horizon, keys, locks, merkle
from signals.audit.keys import PrivateKey
from signals.audit.models import Seal

logger = logging.getLogger(__name__)

BATCH = 10_000
"""Signals that one seal covers at most."""
QUIET = timedelta(hours=1)
"""After so long without signals an empty seal says that there were none."""
SILENCE = 60.0
"""Seconds that a sealing or pruning session may be idle within its transaction."""
START = datetime(1, 1, 2, tzinfo=UTC)
"""The horizon of a first seal that cannot know a better one: it claims nothing."""

# A time that Python cannot read is beyond every horizon anyway.
_UNSEALED = f"""
    SELECT {events.COLUMNS}, least(greatest(s.recorded_at, '0001-01-02Z'), '9999-12-30Z')
    FROM signals_signal AS s
    WHERE (%(since)s::timestamptz IS NULL OR s.recorded_at >= %(since)s)
        AND NOT EXISTS (SELECT FROM signals_sealentry AS e WHERE e.signal_id = s.id)
    ORDER BY s.recorded_at, s.id LIMIT %(limit)s
"""  # noqa: S608 the module's own columns
_ENTER = """
    INSERT INTO signals_sealentry (signal_id, seal, index, leaf)
    SELECT signal_id, %s, place - 1, leaf
    FROM unnest(%s::uuid[], %s::bytea[]) WITH ORDINALITY AS given (signal_id, leaf, place)
"""


@dataclass
class Sealed:
    """What a call of `seal` did.

    Args:
        seals: the numbers of the new seals.
        signals: how many signals they cover.
        busy: somebody else was sealing.
        obstacle: why the horizon did not advance, if it did not.
        agrees: whether the checkpoints on this machine agree with the database.
    """

    seals: list[int] = field(default_factory=list)
    signals: int = 0
    busy: bool = False
    obstacle: str = ""
    agrees: bool = True


@dataclass
class _Batch:
    ids: list[str] = field(default_factory=list)
    leaves: list[bytes] = field(default_factory=list)
    next_at: datetime | None = None
    """When the first signal was recorded that did not fit any more."""


def seal(*, batches: int | None = None) -> Sealed:
    """Seal what is new in the active tenant, a transaction per batch, and write the checkpoints.

    Args:
        batches: how many seals to make at most; as many as it takes by default.

    Raises:
        NoActiveTenant: called outside `in_tenant`.
        KeyMissing: no key signs.
        Refused: entries of the next seal exist already, which only tampering explains.
        OSError: the checkpoints cannot be written; the seals stand.
    """
    tenant = active_tenant()
    key = keys.private_key()
    done = Sealed()
    while batches is None or len(done.seals) < batches:
        with transaction.atomic(durable=True):
            is_last = _seal_batch(tenant, key, done)
        if is_last:
            break
    # Also without a new seal: a crash may have kept the last one from being written.
    if Seal.objects.exists():
        done.agrees = checkpoints.append(tenant)
        if not done.agrees:
            logger.error("the checkpoints of %s disagree with the database: run audit verify", tenant.slug)
    return done


def _seal_batch(tenant: Tenant, key: PrivateKey, done: Sealed) -> bool:
    """Make one seal; return whether nothing is left for another."""
    _see_each_statement_afresh()
    limit_silence(SILENCE)
    if not locks.try_sealing():
        done.busy = True
        return True
    last = Seal.objects.order_by("-number").first()
    complete = horizon.look()
    done.obstacle = complete.obstacle
    batch = _read(tenant, since=last.horizon if last else None)
    if not batch.ids and not _is_quiet_for_long(last, complete.at):
        return True
    new = _signed(tenant, key, last, batch, complete.at)
    _store(new, batch)
    done.seals.append(new.number)
    done.signals += new.size
    return batch.next_at is None


def _is_quiet_for_long(last: Seal | None, complete: datetime | None) -> bool:
    # Otherwise a signal could be slipped in with any time since the last seal.
    return last is not None and complete is not None and complete - last.horizon > QUIET


def _read(tenant: Tenant, since: datetime | None) -> _Batch:
    """Read the first unsealed signals. What was recorded before `since` is sealed already."""
    batch = _Batch()
    with connection.chunked_cursor() as cursor:
        cursor.execute(_UNSEALED, {"since": since, "limit": BATCH + 1})
        while rows := cursor.fetchmany(500):
            for row in rows:
                if len(batch.ids) == BATCH:
                    batch.next_at = row[events.WIDTH]
                    break
                batch.ids.append(row[events.ID])
                batch.leaves.append(events.leaf(row, tenant.slug))
    return batch


def _signed(
    tenant: Tenant, key: PrivateKey, last: Seal | None, batch: _Batch, complete: datetime | None
) -> Seal:
    earlier = last.horizon if last else START
    reached = min(complete or earlier, batch.next_at or datetime.max.replace(tzinfo=UTC))
    new = Seal(
        number=last.number + 1 if last else 1,
        previous=heads.of_seal(last, tenant).hash if last else heads.GENESIS,
        root=merkle.root(batch.leaves).hex(),
        size=len(batch.leaves),
        # What an earlier seal promised still holds.
        horizon=max(earlier, reached),
        sealed_at=datetime.now(UTC),
        key=key.public.id,
    )
    new.signature = heads.sign(heads.of_seal(new, tenant).head, key).signature
    return new


def _store(new: Seal, batch: _Batch) -> None:
    new.save()
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_ENTER, [new.number, batch.ids, batch.leaves])
    except IntegrityError as error:
        raise Refused(
            f"seal {new.number} is new but has entries, or a signal is sealed twice: run audit verify"
        ) from error


def _see_each_statement_afresh() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
