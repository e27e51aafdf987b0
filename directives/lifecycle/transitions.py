"""Every change of a directive's status: one function each, one UPDATE guarded by what it expects.

Zero rows updated means that somebody else was first, and raises. Nothing else in the project writes
`Directive.status`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Case, Exists, F, OuterRef, Q, QuerySet, When
from django.db.models.expressions import RawSQL
from django.db.models.functions import Least, Now
from uuid_utils.compat import uuid7

from directives.errors import DirectiveNotFound, IllegalTransition, StaleAttempt
from directives.lifecycle import events
from directives.models import LOST_SIGNALS, Directive
from fleetprompt.postgres.queries import array
from fleetprompt.postgres.rows import as_json, fetch
from fleetprompt.postgres.statements import Statement, join_statements
from fleetprompt.tenants.models import Tenant
from signals import bus

Status = Directive.Status

_ALWAYS_READABLE = (
    "name",
    "status",
    "attempt",
    "actor_type",
    "actor_id",
    "actor_label",
    "subject_type",
    "subject_id",
    "correlation_id",
)
_COLUMNS = {str(field.column): f"directive.{field.column}" for field in Directive._meta.concrete_fields}


# Two claims at once could each miss what the other one sees, and start two directives of one line; a claim
# takes milliseconds, so they queue up here. The constraint `directive_one_running` stands behind this.
_LOCK = "pg_advisory_xact_lock(hashtext(current_schema() || '.claim'))"
_SILENT = (
    "EXISTS (SELECT FROM directives_directive"
    " WHERE status = 'running' AND lease_expires_at <= clock_timestamp())"
)
_TENANT = "SELECT status FROM public.tenants_tenant WHERE schema_name = current_schema()"
# Nothing is claimed at once while leases have run out, or in a tenant that is suspended or gone.
_OBSTACLE = f"({_SILENT} OR ({_TENANT}) IS DISTINCT FROM '{Tenant.Status.ACTIVE}')"
_UNLESS_OBSTACLE = "AND NOT current_setting('directives.obstacle')::boolean"
_STARTED = bus.insertion(
    """(SELECT *, row_number() OVER (ORDER BY queued_at, id) AS place FROM claimed) AS directive,
        (SELECT %s::text, %s::text, %s::uuid[]) AS given (worker, tenant, ids)""",
    events.fact_sql(
        "directive.started",
        _COLUMNS,
        {"worker": "worker"},
        signal_id="ids[place]",
        tenant="tenant",
    ),
)
# Without the lost one's key: the careful claim that follows tells of it.
_ALL_STARTED = bus.all_stored("spoken", "claimed")


def lock_claims() -> None:
    """Let one claim at a time pass in the active tenant, until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {_LOCK}")


def tenant_status() -> str:
    """Return the active tenant's status as it is now; "deleted" when its schema is gone."""
    with connection.cursor() as cursor:
        cursor.execute(_TENANT)
        found = cursor.fetchone()
    return found[0] if found else "deleted"


def silent() -> QuerySet[Directive]:
    """Return the running directives whose lease ran out, the longest silent first."""
    return Directive.objects.filter(status=Status.RUNNING, lease_expires_at__lte=Now()).order_by(
        "lease_expires_at", "id"
    )


def due() -> QuerySet[Directive]:
    """Return the requested directives that may start now, in the order of their places.

    A request that is not committed yet has no place: a later one passes it. One with an ordering key waits
    for whatever runs under its key and for all that stand before it.
    """
    return Directive.objects.filter(
        Q(ordering_key="") | ~Exists(ahead_in_line(OuterRef)),
        status=Status.REQUESTED,
        scheduled_at__lte=Now(),
    ).order_by("queued_at", "id")


def longest_wait() -> float | None:
    """Return how many seconds ago the time of a requested directive came, be it due or behind another one.

    Returns:
        the longest; None when none waits. A cheap look.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT extract(epoch FROM statement_timestamp() - min(scheduled_at))::float8"
            " FROM directives_directive"
            " WHERE status = 'requested' AND scheduled_at <= statement_timestamp()"
        )
        waited: float | None = cursor.fetchone()[0]
        return waited


def ahead_in_line(reference: Any) -> QuerySet[Directive]:
    """Return what holds a directive back: what runs under its ordering key, and what stands before it.

    Args:
        reference: gives the directive's field by name, such as `OuterRef`.
    """
    before = Q(queued_at__lt=reference("queued_at")) | Q(
        queued_at=reference("queued_at"), id__lt=reference("id")
    )
    return (
        Directive.objects.filter(ordering_key=reference("ordering_key"))
        .exclude(pk=reference("pk"))
        .filter(Q(status=Status.RUNNING) | (Q(status=Status.REQUESTED) & before))
    )


def claim(limit: int, *, lease: float, only: UUID | None = None, token: UUID) -> list[Directive]:
    """requested → running, for what is due: the first attempt, or the next one, begins.

    The caller holds `lock_claims`.

    Args:
        limit: how many to take at most, from the front of `due`.
        lease: seconds until another worker may take them over.
        only: the one to take, if it is due.
        token: for `release`, by who never got the answer.

    Returns:
        the directives as they are now, in the order of their places.
    """
    with connection.cursor() as cursor:
        cursor.execute(*_claim_statement(limit, lease, only, token))
        return fetch(Directive, cursor)


def claim_at_once(
    limit: int,
    *,
    lease: float,
    only: UUID | None = None,
    token: UUID,
    worker: str,
    tenant: str,
) -> list[Directive] | None:
    """Do `claim` in one message, which is a transaction of its own, with all `directive.started`.

    The disk is not waited for: a claim that a crash of the server loses is made again, and what follows
    in this session carries it to the disk. When the client dies while it waits for the lock, the server
    gives up within `CLIENT_CHECK_MILLISECONDS`; what it claims within them waits for the leases.

    Args:
        worker: what the signals say of who claims.
        tenant: the active tenant's slug.

    Returns:
        as `claim`; None when there is something to see to first: directives whose leases ran out, those
        of this claim if one of them cannot be read, or a tenant that is not active.

    Raises:
        DatabaseError: the signals cannot be stored, or whatever else went wrong.
    """
    locking = f"SELECT set_config('synchronous_commit', 'off', true), {_LOCK}"
    # A statement of its own, to see what was committed while it waited for the lock.
    looking = f"SELECT set_config('directives.obstacle', {_OBSTACLE}::text, true)"
    ids = array(str(uuid7()) for _ in range(limit))
    claiming = _claim_statement(limit, lease, only, token, started=(worker, tenant, ids))
    with connection.cursor() as cursor:
        cursor.execute(*join_statements((locking, ()), (looking, ()), claiming))
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


def _claim_statement(
    limit: int,
    lease: float,
    only: UUID | None,
    token: UUID,
    *,
    started: tuple[str, str, str] | None = None,
) -> Statement:
    """Return the statement of `claim`.

    Args:
        started: worker, tenant and new ids, to store the signals too; then `directives.obstacle` is set.
    """
    sql, values = _due_sql()
    also = f", spoken AS ({_STARTED})" if started else ""
    return (
        f"""
        WITH due (id) AS MATERIALIZED (
            {sql} AND (%s::uuid IS NULL OR id = %s) {_UNLESS_OBSTACLE if started else ""}
            ORDER BY queued_at, id LIMIT %s FOR UPDATE SKIP LOCKED
        ), claimed AS (
            UPDATE directives_directive AS directive
            SET status = 'running', attempt = attempt + 1, started_at = NULL, claim_token = %s,
                -- The statement's time is the message's, from before it waited for the lock.
                lease_expires_at = clock_timestamp() + make_interval(secs => %s)
            FROM due WHERE directive.id = due.id RETURNING {", ".join(_COLUMNS.values())}
        ){also}
        SELECT * FROM claimed {f"WHERE {_ALL_STARTED}" if started else ""} ORDER BY queued_at, id
        """,  # noqa: S608 -- our own text
        [*values, only, only, limit, token, lease, *(started or ())],
    )


@cache
def _due_sql() -> tuple[str, tuple[Any, ...]]:
    # Putting `due` into words takes the ORM longer than the rest of a claim.
    sql, values = due().order_by().values("pk").query.sql_with_params()
    return sql, values


def take_over(directives: Sequence[Directive], *, lease: float, token: UUID) -> None:
    """running → running when the lease ran out: the next attempt begins.

    An attempt whose worker fell silent before it began is not counted against `max_attempts`.

    Args:
        directives: rows of `silent`, locked; their fields are brought up to date.
        lease: seconds until another worker may take them over.
        token: as for `claim`.
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
    if rows != len(directives):
        raise StaleAttempt(f"{len(directives) - rows} directives changed while they were claimed")
    for directive in directives:
        if directive.started_at is None:
            directive.max_attempts += 1
        directive.attempt += 1
        directive.started_at = None


def release(token: UUID) -> int:
    """running → running: the leases of all that was claimed with `token` end, so that they are taken over.

    It is for a worker that lost its connection, and with it what these attempts have done, or that cannot
    read what it claimed. A claim whose answer was lost has begun none of them. One that the server still
    works on stands before this one in the queue for the lock.

    Returns:
        how many were released.
    """
    sql = (
        "UPDATE directives_directive SET lease_expires_at = clock_timestamp()"
        " WHERE status = 'running' AND claim_token = %s"
    )
    with connection.cursor() as cursor:
        cursor.execute(*join_statements((f"SELECT {_LOCK}", ()), (sql, (token,))))
        cursor.nextset()
        return int(cursor.rowcount)


def begin(directive: Directive, *, lease: float) -> None:
    """running → running: the attempt begins to execute, with a lease of `lease` seconds from now.

    Raises:
        StaleAttempt: another attempt took the directive over.
    """
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
    # By their keys alone, which PostgreSQL plans in no time.
    holding = (
        "SELECT id, status, attempt, clock_timestamp() FROM directives_directive"
        " WHERE id = ANY(%s) ORDER BY id FOR UPDATE"
    )
    with connection.cursor() as cursor:
        cursor.execute(*join_statements(before, (holding, [list(attempts)]), *after))
        cursor.nextset()
        return {pk: now for pk, *attempt, now in cursor.fetchall() if attempts[pk] == tuple(attempt)}


def renew(directives: Sequence[Directive], *, lease: float) -> None:
    """running → running: those that wait in a batch stay this worker's for `lease` more seconds."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE directives_directive AS directive
            SET lease_expires_at = statement_timestamp() + make_interval(secs => %s)
            FROM unnest(%s::uuid[], %s::int[]) AS mine (id, attempt)
            WHERE (directive.id, directive.attempt, directive.status) = (mine.id, mine.attempt, 'running')
            """,
            [lease, [one.pk for one in directives], [one.attempt for one in directives]],
        )


def succeed(directive: Directive, result: dict[str, Any], metadata: dict[str, Any]) -> None:
    """running → succeeded, with its result.

    Raises:
        StaleAttempt: another attempt took the directive over.
    """
    _update_attempt(
        directive,
        status=Status.SUCCEEDED,
        result=result,
        metadata=metadata,
        completed_at=Now(),
        lease_expires_at=None,
    )


def succeed_together(succeeded: Mapping[UUID, tuple[datetime, dict[str, Any]]]) -> None:
    """running → succeeded, for directives that `hold` holds in this transaction.

    Args:
        succeeded: when each began to execute, and its result.

    Raises:
        StaleAttempt: some are not running.
    """
    if not succeeded:
        return
    rows = [{"id": pk, "started_at": began, "result": result} for pk, (began, result) in succeeded.items()]
    with connection.cursor() as cursor:
        # The status is hidden from the planner, who would look for all that are running.
        cursor.execute(
            """
            UPDATE directives_directive AS directive
            SET status = 'succeeded', result = own.result, started_at = own.started_at,
                completed_at = statement_timestamp(), lease_expires_at = NULL
            FROM json_to_recordset(%s) AS own (id uuid, started_at timestamptz, result jsonb)
            WHERE directive.id = own.id AND directive.status || '' = 'running'
            """,
            [as_json(rows)],
        )
        if cursor.rowcount != len(rows):
            raise StaleAttempt(f"{len(rows) - cursor.rowcount} directives changed while they were held")


def fail(directive: Directive, error: str, metadata: dict[str, Any]) -> None:
    """running → failed, with the error.

    Raises:
        StaleAttempt: another attempt took the directive over.
    """
    _update_attempt(
        directive,
        status=Status.FAILED,
        metadata=metadata,
        completed_at=Now(),
        lease_expires_at=None,
        last_error=error,
        last_error_at=Now(),
    )


def read_little(directive_id: UUID) -> Directive | None:
    """Return a directive with the fields that can always be read, whatever somebody wrote into its row."""
    return Directive.objects.only(*_ALWAYS_READABLE).filter(pk=directive_id).first()


def set_aside(directive: Directive, error: str, lost: Sequence[str]) -> None:
    """requested or running → failed, for a row that cannot be handled: it reads nothing else of it.

    Args:
        directive: what `read_little` gave.
        error: why it cannot be handled.
        lost: names of signals to note as lost.

    Raises:
        StaleAttempt: another attempt took the directive over, or it has ended.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE directives_directive
            SET status = 'failed', completed_at = clock_timestamp(), lease_expires_at = NULL,
                last_error = %(error)s, last_error_at = clock_timestamp(),
                metadata = CASE WHEN %(lost)s::jsonb = '[]' THEN metadata ELSE
                    CASE jsonb_typeof(metadata) WHEN 'object' THEN metadata ELSE '{}' END
                    || jsonb_build_object(%(key)s::text,
                        CASE jsonb_typeof(metadata -> %(key)s::text)
                            WHEN 'array' THEN metadata -> %(key)s::text ELSE '[]' END
                        || %(lost)s::jsonb)
                    END
            WHERE id = %(id)s AND attempt = %(attempt)s AND status IN ('requested', 'running')
            """,
            {
                "error": error,
                "lost": as_json(list(lost)),
                "key": LOST_SIGNALS,
                "id": directive.pk,
                "attempt": directive.attempt,
            },
        )
        if cursor.rowcount == 0:
            raise StaleAttempt(f"attempt {directive.attempt} of {directive} is not the current one")


def retry(directive: Directive, error: str, metadata: dict[str, Any], *, delay: float) -> None:
    """running → requested, due again in `delay` seconds; it keeps its place in the line.

    Raises:
        StaleAttempt: another attempt took the directive over.
    """
    _update_attempt(
        directive,
        status=Status.REQUESTED,
        metadata=metadata,
        scheduled_at=_from_now(delay),
        lease_expires_at=None,
        last_error=error,
        last_error_at=Now(),
    )


def snooze(directive_id: UUID, until: datetime) -> Directive:
    """requested → requested, due at `until`; it goes behind what is due earlier.

    Raises:
        DirectiveNotFound: no such directive.
        IllegalTransition: it is not `requested`.
    """
    return _update(
        directive_id,
        [Status.REQUESTED],
        "snoozed",
        operations=_counting("directive.snoozed"),
        scheduled_at=until,
        queued_at=until,
    )


def run_now(directive_id: UUID) -> Directive:
    """requested → requested, due now; one that stood in line for later takes a place, a retry keeps its.

    Raises:
        DirectiveNotFound: no such directive.
        IllegalTransition: it is not `requested`.
    """
    return _update(
        directive_id,
        [Status.REQUESTED],
        "run now",
        operations=_counting("directive.run_requested"),
        scheduled_at=Least(F("scheduled_at"), Now()),
        queued_at=Least(F("queued_at"), Now()),
    )


def cancel(directive_id: UUID) -> Directive:
    """requested → canceled.

    Raises:
        DirectiveNotFound: no such directive.
        IllegalTransition: it is not `requested`.
    """
    return _update(
        directive_id,
        [Status.REQUESTED],
        "canceled",
        operations=_counting("directive.canceled"),
        status=Status.CANCELED,
        completed_at=Now(),
    )


def rerun(directive_id: UUID, attempts: int) -> Directive:
    """succeeded, failed or canceled → requested, due now, at the end of its line.

    Args:
        attempts: how many more attempts it gets; the numbers go on counting.

    Raises:
        DirectiveNotFound: no such directive.
        IllegalTransition: it has not ended.
    """
    return _update(
        directive_id,
        list(Directive.TERMINAL),
        "rerun",
        operations=_counting("directive.rerun_requested"),
        earlier_successes=F("earlier_successes") + Case(When(status=Status.SUCCEEDED, then=1), default=0),
        status=Status.REQUESTED,
        scheduled_at=Now(),
        queued_at=Now(),
        started_at=None,
        completed_at=None,
        result=None,
        max_attempts=F("attempt") + attempts,
    )


def _update_attempt(directive: Directive, **changes: Any) -> None:
    rows = Directive.objects.filter(
        pk=directive.pk, status=Status.RUNNING, attempt=directive.attempt
    ).update(**changes)
    if rows == 0:
        raise StaleAttempt(f"attempt {directive.attempt} of {directive} is not the current one")


def _update(directive_id: UUID, expected: list[Directive.Status], action: str, **changes: Any) -> Directive:
    rows = Directive.objects.filter(pk=directive_id, status__in=expected).update(**changes)
    directive = Directive.objects.filter(pk=directive_id).first()
    if directive is None:
        raise DirectiveNotFound(f"id: this tenant has no directive {directive_id}")
    if rows == 0:
        raise IllegalTransition(
            f"status: directive {directive_id} is {directive.status}; only one that is "
            f"{' or '.join(expected)} can be {action}"
        )
    return directive


def _counting(signal: str) -> RawSQL:
    """Return `operations` with one more of `signal`, counted anew in each attempt: its number there."""
    return RawSQL(
        "jsonb_set(operations, ARRAY[%s], jsonb_build_array(attempt, 1 + CASE operations #>> ARRAY[%s, '0']"
        " WHEN attempt::text THEN (operations #>> ARRAY[%s, '1'])::int ELSE 0 END))",
        [signal] * 3,
    )


def count_from(directive_id: UUID, signal: str, number: int) -> None:
    """Have the counter of a signal of an operation stand at `number` in the current attempt."""
    counted = RawSQL(
        "jsonb_set(operations, ARRAY[%s], jsonb_build_array(attempt, %s::int))", [signal, number]
    )
    Directive.objects.filter(pk=directive_id).update(operations=counted)


def _from_now(seconds: float) -> Any:
    return Now() + timedelta(seconds=seconds)
