"""Seals new signals: a signed Merkle root over each batch, without making emitters wait."""

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from django.db import IntegrityError, connection, transaction

from fleetprompt.errors import Refused
from fleetprompt.postgres.idle_in_transaction import limit_idle_in_transaction
from fleetprompt.tenants.context import active_tenant
from fleetprompt.tenants.models import Tenant
from signals.audit.format import events, heads, merkle
from signals.audit.models import Seal
from signals.audit.publishing import checkpoints
from signals.audit.sealing import horizon, keys, locks
from signals.audit.sealing.keys import PrivateKey, PublicKeys

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
        problem: what is wrong with a seal that a new one follows on, if anything is.
        agrees: whether the checkpoints on this machine agree with the database.
    """

    seals: list[int] = field(default_factory=list)
    signals: int = 0
    busy: bool = False
    obstacle: str = ""
    problem: str = ""
    agrees: bool = True


class ClockAhead(Refused):
    """The newest seal claims a time that has not come yet: no signal of today would be in a later seal."""


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
        ClockAhead: the newest seal claims to be complete up to a time after the database's clock.
        Refused: entries of the next seal exist already, which only tampering explains.
        OSError: the checkpoints cannot be written; the seals stand.
    """
    tenant = active_tenant()
    key, trusted = keys.private_key(), keys.trusted_keys()
    done = Sealed()
    while batches is None or len(done.seals) < batches:
        with transaction.atomic(durable=True):
            is_last = _seal_batch(tenant, key, trusted, done)
        if is_last:
            break
    if done.problem:
        logger.error("%s: %s: run audit verify", tenant.slug, done.problem)
    # Also without a new seal: a crash may have kept the last one from being written.
    if Seal.objects.exists():
        done.agrees = checkpoints.append(tenant)
        if not done.agrees:
            logger.error("the checkpoints of %s disagree with the database: run audit verify", tenant.slug)
    return done


def take_back(last: Seal, since: datetime) -> Seal:
    """Take back, under a signature, what seals claim about the time from `since` on.

    It is an empty seal with an earlier horizon than the one before: the next one covers every signal of
    that time that no seal has. To be called in a transaction that has the right to seal.

    Args:
        last: the active tenant's newest seal.
        since: every signal recorded before it is in a seal, as far as anybody knows.
    """
    new = _signed(active_tenant(), keys.private_key(), last, [], since)
    new.save()
    return new


def ahead(seal: Seal) -> str:
    """Return the sentence about a seal whose horizon has not come yet."""
    return (
        f"seal {seal.number} claims to be complete up to {heads.moment(seal.horizon)}, which is after the "
        "database's clock: it was made while a clock was ahead"
    )


def _seal_batch(tenant: Tenant, key: PrivateKey, trusted: PublicKeys, done: Sealed) -> bool:
    """Make one seal; return whether nothing is left for another."""
    begin()
    if not locks.try_sealing():
        done.busy = True
        return True
    last = Seal.objects.order_by("-number").first()
    complete = horizon.look()
    done.obstacle = complete.obstacle
    if last and last.horizon > complete.now:
        raise ClockAhead(f"{ahead(last)}; run audit acknowledge --clock")
    if last and (problem := heads.of_seal(last, tenant).problem(trusted)):
        done.problem = f"seal {last.number} {problem}"
    batch = _read(tenant, since=last.horizon if last else None)
    if not batch.ids and not _is_quiet_for_long(last, complete.at):
        return True
    earlier = last.horizon if last else START
    reached = min(complete.at or earlier, batch.next_at or datetime.max.replace(tzinfo=UTC))
    # What an earlier seal promised still holds.
    new = _signed(tenant, key, last, batch.leaves, max(earlier, reached))
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
    tenant: Tenant, key: PrivateKey, last: Seal | None, leaves: list[bytes], until: datetime
) -> Seal:
    new = Seal(
        number=last.number + 1 if last else 1,
        previous=heads.of_seal(last, tenant).hash if last else heads.GENESIS,
        root=merkle.root(leaves).hex(),
        size=len(leaves),
        horizon=until,
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


def begin() -> None:
    """Begin a transaction that seals: each statement of it sees what was committed before."""
    with connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
    limit_idle_in_transaction(SILENCE)
