"""Sealer: signs a Merkle root over each batch of new signals, without making emitters wait."""

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from django.db import IntegrityError, connection, transaction

from fleetprompt.errors import Refused
from fleetprompt.postgres.idle_in_transaction import limit_idle_in_transaction
from fleetprompt.postgres.queries import execute
from fleetprompt.tenants.context import active_tenant
from fleetprompt.tenants.models import Tenant
from signals import sql
from signals.audit.format import events, merkle
from signals.audit.sealing import checkpoints, heads, horizon, keys, locks, stored
from signals.audit.sealing.keys import PrivateKey, PublicKeys
from signals.models import Seal

logger = logging.getLogger(__name__)

MAX_SEALED = 10_000
"""Signals that one seal covers at most."""
EMPTY_SEAL_AFTER = timedelta(hours=1)
"""Time without signals after which an empty seal says that there were none."""
MAX_IDLE_SECONDS = 60.0
"""Seconds that a sealing or pruning session may be idle within its transaction."""
FIRST_HORIZON = datetime(1, 1, 2, tzinfo=UTC)
"""The horizon of a first seal that cannot know a better one: it claims nothing."""

_NEXT = sql.NEXT_TO_SEAL.format(columns=events.COLUMNS)
_FETCHED_ROWS = 500


@dataclass
class Sealed:
    """The result of a call of `seal`.

    Args:
        seals: the numbers of the new seals.
        signals: the number of signals they cover.
        busy: another process was sealing.
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
    """The newest seal claims a time that has not come yet: a later seal could cover no signal of today."""


def seal(*, batches: int | None = None) -> Sealed:
    """Seal the new signals of the active tenant, a transaction per batch, and write the checkpoints.

    Args:
        batches: the number of seals to make at most; as many as it takes by default.

    Raises:
        KeyMissing: no key signs.
        ClockAhead: the newest seal claims to be complete up to a time after the database's clock.
        Refused: entries of the next seal exist already, which only tampering explains.
        OSError: the checkpoints cannot be written; the seals stay.
    """
    tenant = active_tenant()
    key, trusted = keys.private_key(), keys.trusted_keys()
    done, is_last = Sealed(), False
    while not is_last and (batches is None or len(done.seals) < batches):
        with transaction.atomic(durable=True):
            is_last = _seal_batch(tenant, key, trusted, done)
    if done.problem:
        logger.error("%s: %s: run audit verify", tenant.slug, done.problem)
    # Also without a new seal: a crash may have kept the last one from being written.
    if Seal.objects.exists():
        done.agrees = checkpoints.append(tenant)
        if not done.agrees:
            logger.error("the checkpoints of %s disagree with the database: run audit verify", tenant.slug)
    return done


def take_back(last: Seal, since: datetime) -> Seal:
    """Store an empty seal that takes back what seals claim about the time from `since` on.

    Its horizon is earlier than that of the seal before: the next one covers every unsealed signal of that
    time. To be called in a transaction that has the right to seal.

    Args:
        last: the active tenant's newest seal.
        since: every signal recorded before it is in a seal, as far as is known.
    """
    new = _signed(active_tenant(), keys.private_key(), last, [], since)
    new.save()
    return new


def ahead(seal: Seal) -> str:
    """Return the sentence about a seal whose horizon has not come yet."""
    return (
        f"seal {seal.number} claims to be complete up to {heads.timestamp(seal.horizon)}, which is after "
        "the database's clock: it was made while a clock was ahead"
    )


def begin() -> None:
    """Begin a transaction that seals: each statement of it sees what was committed before."""
    execute(sql.READ_COMMITTED)
    limit_idle_in_transaction(MAX_IDLE_SECONDS)


def _seal_batch(tenant: Tenant, key: PrivateKey, trusted: PublicKeys, done: Sealed) -> bool:
    """Make one seal; return whether no signal is left for another."""
    begin()
    if not locks.try_sealing():
        done.busy = True
        return True
    last = stored.newest_seal()
    complete = horizon.look()
    done.obstacle = complete.obstacle
    if last and last.horizon > complete.now:
        raise ClockAhead(f"{ahead(last)}; run audit acknowledge --clock")
    if last and (problem := heads.of(last, tenant).problem(trusted)):
        done.problem = f"seal {last.number} {problem}"
    ids, leaves, next_at = _read(tenant, since=last.horizon if last else None)
    # Without an empty seal a signal could be inserted unnoticed with any time since the last one.
    is_old = last and complete.at and complete.at - last.horizon > EMPTY_SEAL_AFTER
    if not ids and not is_old:
        return True
    earlier = last.horizon if last else FIRST_HORIZON
    reached = min(complete.at or earlier, next_at or datetime.max.replace(tzinfo=UTC))
    # What an earlier seal claims stays true.
    new = _signed(tenant, key, last, leaves, max(earlier, reached))
    new.save()
    try:
        with transaction.atomic():
            execute(sql.ENTER, new.number, ids, leaves)
    except IntegrityError as error:
        raise Refused(
            f"seal {new.number} is new but has entries, or a signal is sealed twice: run audit verify"
        ) from error
    done.seals.append(new.number)
    done.signals += new.size
    return next_at is None


def _read(tenant: Tenant, since: datetime | None) -> tuple[list[str], list[bytes], datetime | None]:
    """Return ids and leaves of the first unsealed signals, and the time of recording of the next one.

    Signals recorded before `since` are sealed already.
    """
    ids: list[str] = []
    leaves: list[bytes] = []
    with connection.chunked_cursor() as cursor:
        cursor.execute(_NEXT, {"since": since, "limit": MAX_SEALED + 1})
        while rows := cursor.fetchmany(_FETCHED_ROWS):
            for row in rows:
                if len(ids) == MAX_SEALED:
                    return ids, leaves, row[events.WIDTH]
                ids.append(row[events.ID])
                leaves.append(events.leaf(row, tenant.slug))
    return ids, leaves, None


def _signed(
    tenant: Tenant, key: PrivateKey, last: Seal | None, leaves: list[bytes], until: datetime
) -> Seal:
    values = {"root": merkle.root(leaves).hex(), "size": len(leaves)}
    return heads.following(last, Seal, tenant, key, **values, horizon=until, sealed_at=datetime.now(UTC))
