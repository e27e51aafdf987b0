"""Every change of a directive's status, and the signals of its lifecycle.

Only this module changes a status; `requesting/insertion.py` inserts it as `requested`. A transition of
known directives is one UPDATE, guarded by the status that it expects and, when an attempt begins to
execute or ends, by the attempt. If a row was not updated, it raises `StaleAttempt`, because another attempt
took the directive over; operations raise `DirectiveNotFound` or `IllegalTransition`. A claim locks the
tenant and selects what is due instead; `renew`, `release` and `hold` skip what is not current. Half of each
guard is SQL in `directives/sql.py` and `queries.py`.
"""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db import DatabaseError, connection, transaction
from django.db.models import Case, F, When
from django.db.models.expressions import Combinable, RawSQL
from django.db.models.functions import Least, Now
from uuid_utils.compat import uuid7

from directives import sql
from directives.errors import DirectiveNotFound, IllegalTransition, StaleAttempt
from directives.lifecycle import queries
from directives.models import LOST_SIGNALS, Directive
from fleetprompt.postgres import outages
from fleetprompt.postgres.queries import Statement, array, execute, join_statements
from fleetprompt.postgres.rows import as_json, fetch
from fleetprompt.telemetry import errors, metrics
from fleetprompt.tenants.models import Tenant
from signals import bus
from signals.models import Signal
from signals.types import Actor, as_object, bounded_key

logger = logging.getLogger(__name__)

Status = Directive.Status
SOURCE = "directives"


def lifecycle_signal(
    directive: Directive,
    name: str,
    payload: Mapping[str, object] | None = None,
    *,
    tenant: str,
    actor: Actor | None = None,
    number: int = 1,
) -> Signal:
    """Build one signal about the directive, not stored yet.

    Args:
        tenant: the active tenant's slug.
        actor: who did it; the directive's own actor by default.
        number: tells apart those of one name and attempt: a directive may be snoozed, canceled and rerun
            more than once before its next attempt.
    """
    return bus.fact(
        name,
        {"name": directive.name, "attempt": directive.attempt, **(payload or {})},
        dedupe_key=bounded_key(f"{name}:{tenant}:{directive.id}:{directive.attempt}", number),
        actor=actor or directive.actor,
        subject=directive.subject,
        source=SOURCE,
        correlation_id=directive.correlation_id,
        causation_id=str(directive.id),
        member_id=directive.member_id,
    )


def lifecycle_signal_sql(
    name: str, directive: Mapping[str, str], payload: Mapping[str, str], *, signal_id: str, tenant: str
) -> dict[str, str]:
    """Return what `lifecycle_signal` builds as the values of `bus.insertion`, for rows of a statement.

    Claims and requests store their signals in their own statement, which spares them a message: a time
    slice with five directives took 12.7 ms without it and 10.1 ms with it
    (docs/explanation/performance-trials.md).

    Args:
        directive: SQL for the columns of the directive that it speaks of.
        payload, signal_id, tenant: SQL for each detail, a new id, and the active tenant's slug.
    """
    details = {"name": directive["name"], "attempt": directive["attempt"], **payload}
    pairs = ", ".join(f"'{key}', {value}" for key, value in details.items())
    return {
        "id": signal_id,
        "name": f"'{name}'",
        "dedupe_key": f"'{name}:' || {tenant} || ':' || {directive['id']} || ':' || {directive['attempt']}",
        "payload": f"jsonb_build_object({pairs})",
        **{column: directive[column] for column in queries.COPIED},
        "source": f"'{SOURCE}'",
        "causation_id": f"{directive['id']}::text",
    }


def tell(directives: Sequence[Directive], name: str, tenant: Tenant, **payload: object) -> None:
    """Store a signal of that name for each of the directives, as `store_signals` does."""
    signals = [lifecycle_signal(one, name, payload, tenant=tenant.slug) for one in directives]
    store_signals(directives, signals)


def store_signals(directives: Sequence[Directive], signals: Sequence[Signal]) -> None:
    """Store what can be stored of the signals of directives, and note on each directive what could not."""
    lost = defaultdict(list)
    for signal in store_each(signals):
        lost[signal.causation_id].append(signal.name)
    for directive in directives:
        if names := lost[str(directive.id)]:
            noted = {LOST_SIGNALS: [*directive.lost_signals, *names]}
            directive.metadata = as_object(directive.metadata) | noted
            Directive.objects.filter(pk=directive.pk).update(metadata=directive.metadata)


def store_each(signals: Sequence[Signal]) -> list[Signal]:
    """Store what can be stored and return what could not, so that a directive runs without its signals.

    The loss is logged and counted, and the caller notes it on the directive. What may work later (a
    deadlock, a lost connection) is raised instead: then the whole attempt is tried again.
    """
    if not signals:
        return []
    try:
        with transaction.atomic():
            lost, why = bus.store(signals), "its key is taken, or the database left it out"
    except DatabaseError as error:
        if outages.is_transient(error):
            raise
        if len(signals) > 1:
            return [lost for signal in signals for lost in store_each([signal])]
        lost, why = list(signals), errors.brief(error)
    for signal in lost:
        logger.error("signal %s is lost: %s", signal.dedupe_key, why)
        metrics.FAILED_WRITES.add(signal.name)
    return lost


# The ORM takes longer to compile `due` than the rest of a claim takes.
_DUE, _DUE_VALUES = queries.due().order_by().values("pk").query.sql_with_params()
_COLUMNS = {str(field.column): f"directive.{field.column}" for field in Directive._meta.concrete_fields}
_STARTED = lifecycle_signal_sql(
    "directive.started", _COLUMNS, {"worker": "worker"}, signal_id="ids[place]", tenant="tenant"
)
_CLAIM, _CLAIM_WITH_SIGNALS = (
    sql.CLAIM.format(due=_DUE, columns=", ".join(_COLUMNS.values()), **variant)
    for variant in (
        {"condition": "", "signals": "", "complete": ""},
        {
            "condition": sql.NO_OBSTACLE,
            "signals": f", told AS ({bus.insertion(sql.CLAIMED_ONES, _STARTED)})",
            # Without the key of a lost one: the careful claim that follows tells of it.
            "complete": f"WHERE {bus.all_stored('told', 'claimed')}",
        },
    )
)


def lock_claims() -> None:
    """Let one claim at a time pass in the active tenant, until the transaction ends."""
    execute(sql.LOCK_CLAIMS)


def claim(limit: int, *, lease: float, only: UUID | None = None, token: UUID) -> list[Directive]:
    """requested → running, for what is due: the first attempt, or the next one, begins.

    The caller holds `lock_claims`, and stores the signals.

    Args:
        limit: how many to take at most, from the front of `queries.due`.
        lease: seconds until another worker may take them over.
        only: the one to take, if it is due.
        token: for `release`, by a worker that never got the answer.

    Returns:
        the directives as they are now, in the order of their places.
    """
    with connection.cursor() as cursor:
        cursor.execute(_CLAIM, [*_DUE_VALUES, only, only, limit, token, lease])
        return fetch(Directive, cursor)


def claim_at_once(
    limit: int, *, lease: float, only: UUID | None = None, token: UUID, worker: str, tenant: str
) -> list[Directive] | None:
    """Do `claim` in one message, which is a transaction of its own, with all `directive.started`.

    The disk is not waited for: a claim that a crash of the server loses is made again, and what follows
    in this session carries it to the disk. When the client dies while it waits for the lock, the server
    gives up within `CLIENT_CHECK_MILLISECONDS`; what it claims within them waits for the leases.

    Args:
        worker, tenant: the name of the worker and the active tenant's slug, for the signals.

    Returns:
        as `claim`; None when the careful claim has to see to something first: expired leases, those
        of this claim if one of its directives cannot be read, or a tenant that is not active.

    Raises:
        DatabaseError: the signals cannot be stored, or whatever else went wrong.
    """
    ids = array(str(uuid7()) for _ in range(limit))
    statements: list[Statement] = [
        ("SELECT set_config('synchronous_commit', 'off', true)", ()),
        (sql.LOCK_CLAIMS, ()),
        # A statement of its own, to see what was committed while the one before waited for the lock.
        (sql.FIND_OBSTACLE, ()),
        (_CLAIM_WITH_SIGNALS, [*_DUE_VALUES, only, only, limit, token, lease, worker, tenant, ids]),
    ]
    with connection.cursor() as cursor:
        cursor.execute(*join_statements(*statements))
        cursor.nextset()
        cursor.nextset()
        [(obstacle,)] = cursor.fetchall()
        cursor.nextset()
        if obstacle == "true":
            return None
        try:
            return fetch(Directive, cursor)
        except Exception:
            # The claim is committed. Those that can be read are not to wait for their leases.
            release(token)
            return None


def take_over(directives: Sequence[Directive], *, lease: float, token: UUID) -> None:
    """running → running when the lease has expired: the next attempt begins.

    An attempt whose worker stalled before it began is not counted against `max_attempts`.

    Args:
        directives: rows of `queries.stalled`, locked; their fields are brought up to date.
        lease, token: as for `claim`.
    """
    rows = Directive.objects.filter(
        pk__in=[directive.pk for directive in directives], status=Status.RUNNING
    ).update(
        attempt=F("attempt") + 1,
        max_attempts=F("max_attempts") + Case(When(started_at__isnull=True, then=1), default=0),
        started_at=None,
        lease_expires_at=_from_now(lease),
        claim_token=token,
    )
    _expect_all(rows, directives)
    for directive in directives:
        if directive.started_at is None:
            directive.max_attempts += 1
        directive.attempt += 1
        directive.started_at = None


def release(token: UUID) -> int:
    """running → running: the leases of all that was claimed with `token` end, so that they are taken over.

    It is for a worker that lost its connection, and with it what these attempts have done, or that cannot
    read what it claimed. A claim whose answer was lost has begun none of them. One that the server still
    works on holds the lock, for which this one waits.

    Returns:
        how many were released.
    """
    with connection.cursor() as cursor:
        cursor.execute(*join_statements((sql.LOCK_CLAIMS, ()), (sql.RELEASE, (token,))))
        cursor.nextset()
        return int(cursor.rowcount)


def begin(directive: Directive, *, lease: float) -> None:
    """running → running: the attempt begins to execute, with a lease of `lease` seconds from now."""
    _update_attempt(directive, started_at=Now(), lease_expires_at=_from_now(lease))


def hold(
    directives: Sequence[Directive], *, before: Statement, after: Sequence[Statement] = ()
) -> dict[UUID, datetime]:
    """Keep those attempts that are still current from being taken over, until the transaction ends.

    Args:
        before: a SELECT to send with it, in front of it.
        after: what follows it in the same message.

    Returns:
        the database's clock by the ids of those that are current.
    """
    attempts = {directive.pk: (Status.RUNNING.value, directive.attempt) for directive in directives}
    with connection.cursor() as cursor:
        cursor.execute(*join_statements(before, (sql.HOLD, [list(attempts)]), *after))
        cursor.nextset()
        return {pk: now for pk, *attempt, now in cursor.fetchall() if attempts[pk] == tuple(attempt)}


def renew(directives: Sequence[Directive], *, lease: float) -> None:
    """running → running: those that wait in a batch stay this worker's for `lease` more seconds."""
    execute(sql.RENEW, lease, [one.pk for one in directives], [one.attempt for one in directives])


def succeed(
    directives: Sequence[Directive],
    results: Sequence[Mapping[str, object]],
    started_at: Sequence[datetime | None],
) -> None:
    """running → succeeded, each with its result.

    Args:
        started_at: when each began to execute; None where `begin` has stored that.
    """
    rows = [
        {"id": directive.pk, "attempt": directive.attempt, "started_at": began, "result": result}
        for directive, result, began in zip(directives, results, started_at, strict=True)
    ]
    _expect_all(execute(sql.SUCCEED, as_json(rows)), directives)


def fail(directive: Directive, error: str) -> None:
    """running → failed, with the error."""
    _end_attempt(directive, error, status=Status.FAILED, completed_at=Now())


def set_aside(directive: Directive, error: str, lost: Sequence[str]) -> None:
    """requested or running → failed, for a row that cannot be handled: it reads nothing else of it.

    Args:
        directive: with the fields that can always be read.
        error: why it cannot be handled.
        lost: names of signals to note as lost.
    """
    which = {"id": directive.pk, "attempt": directive.attempt}
    rows = execute(sql.SET_ASIDE, error=error, lost=as_json(list(lost)), key=LOST_SIGNALS, **which)
    _expect_all(rows, [directive])


def retry(directive: Directive, error: str, *, delay: float) -> None:
    """running → requested, due again in `delay` seconds; it keeps its place in the line."""
    _end_attempt(directive, error, status=Status.REQUESTED, scheduled_at=_from_now(delay))


def snooze(directive_id: UUID, until: datetime) -> Directive:
    """requested → requested, due at `until`; it goes behind what is due earlier."""
    return _operate(
        directive_id, "snoozed", "directive.snoozed", {"scheduled_at": until, "queued_at": until}
    )


def run_now(directive_id: UUID) -> Directive:
    """requested → requested, due now; one that stood in line for later takes a place, a retry keeps its."""
    times = {name: Least(F(name), Now()) for name in ("scheduled_at", "queued_at")}
    return _operate(directive_id, "run now", "directive.run_requested", times)


def cancel(directive_id: UUID) -> Directive:
    """requested → canceled."""
    changes = {"status": Status.CANCELED, "completed_at": Now()}
    return _operate(directive_id, "canceled", "directive.canceled", changes)


def rerun(directive_id: UUID, attempts: int) -> Directive:
    """succeeded, failed or canceled → requested, due now, at the end of its line.

    It gets `attempts` more; the numbers go on counting.
    """
    had_succeeded = Case(When(status=Status.SUCCEEDED, then=1), default=0)
    changes = {
        "status": Status.REQUESTED,
        "earlier_successes": F("earlier_successes") + had_succeeded,
        "max_attempts": F("attempt") + attempts,
        "scheduled_at": Now(),
        "queued_at": Now(),
        "requested_at": Now(),
        "started_at": None,
        "completed_at": None,
        "result": None,
    }
    return _operate(directive_id, "rerun", "directive.rerun_requested", changes, Directive.TERMINAL)


def _end_attempt(directive: Directive, error: str, **changes: object) -> None:
    ended = {"lease_expires_at": None, "last_error": error, "last_error_at": Now()}
    _update_attempt(directive, **ended, **changes)


def _update_attempt(directive: Directive, **changes: object) -> None:
    # The worker that still has what was erased meanwhile gives up, before it quotes it in an error.
    rows = Directive.objects.filter(
        pk=directive.pk,
        status=Status.RUNNING,
        attempt=directive.attempt,
        personal__isnull=directive.personal is None,
    ).update(**changes)
    _expect_all(rows, [directive])


def _expect_all(rows: int, directives: Sequence[Directive]) -> None:
    if rows != len(directives):
        named = f"attempt {directives[0].attempt} of {directives[0]} is"
        if len(directives) > 1:
            named = f"{len(directives) - rows} of {len(directives)} attempts are"
        raise StaleAttempt(f"{named} not the current one")


def _operate(
    directive_id: UUID,
    action: str,
    signal: str,
    changes: Mapping[str, object],
    expected: Sequence[Directive.Status] = (Status.REQUESTED,),
) -> Directive:
    counted = RawSQL(sql.COUNT_OPERATION, [signal] * 3)  # noqa: S611 -- a constant
    rows = Directive.objects.filter(pk=directive_id, status__in=expected).update(
        operations=counted, **changes
    )
    directive = Directive.objects.filter(pk=directive_id).first()
    if directive is None:
        raise DirectiveNotFound(f"id: this tenant has no directive {directive_id}")
    if rows == 0:
        raise IllegalTransition(
            f"status: directive {directive_id} is {directive.status}; only one that is "
            f"{' or '.join(expected)} can be {action}"
        )
    return directive


def _from_now(seconds: float) -> Combinable:
    return Now() + timedelta(seconds=seconds)
