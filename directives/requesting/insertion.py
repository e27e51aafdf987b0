"""The one statement that stores directives, each with the signal that says so, and wakes their tenant."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from operator import attrgetter
from typing import Any
from uuid import UUID

from django.db import DataError
from uuid_utils.compat import uuid7

from directives.errors import Refused
from directives.lifecycle import events
from directives.models import Directive
from directives.queueing import adapter, broker
from fleetprompt.postgres.prepared import prepared_cursor
from fleetprompt.postgres.rows import as_json
from fleetprompt.tenants.models import Tenant
from signals import bus

BATCH = 5000
"""Directives per statement; with payloads of 64 KiB each that stays below what PostgreSQL takes at once."""

_OWN = {
    "id": "uuid",
    "payload": "jsonb",
    "idempotency_key": "text",
    "subject_id": "text",
    "ordering_key": "text",
}
_BESIDES = {"signal_id": "uuid", "scheduled_at": "timestamptz"}
_OFTEN_SHARED = {"name": "text", "reason": "text", "subject_type": "text", "max_attempts": "integer"}
_SHARED = {
    "status": "text",
    "metadata": "jsonb",
    "actor_type": "text",
    "actor_id": "text",
    "actor_label": "text",
    "correlation_id": "text",
    "causation_id": "text",
    "attempt": "integer",
    "last_error": "text",
}


def store(directives: Sequence[Directive], tenant: str) -> set[UUID]:
    """Insert new directives, their `directive.requested` and wake-ups, but none whose key is taken.

    A concurrent insert of a key makes this one wait and then lose. All times that are None become the
    database's time, one for all, also in what was given.

    Args:
        directives: of one request, made by `requests`; they share actor, metadata and correlation.
        tenant: the active tenant's slug.

    Returns:
        the ids of those that were stored.

    Raises:
        NotStored: the database did not take the signal of one; nothing of this statement is stored.
        Refused: the tenant is not active any more.
    """
    stored: set[UUID] = set()
    moment: datetime | None = None
    # In one order for all statements and all batches (Python's of texts is that of `COLLATE "C"`): two
    # that overlap wait for each other instead of locking each other out.
    ordered = sorted(directives, key=attrgetter("idempotency_key"))
    for start in range(0, len(ordered), BATCH):
        some = ordered[start : start + BATCH]
        with prepared_cursor() as cursor:
            try:
                cursor.execute(*_statement(some, moment, tenant))
            except DataError as error:
                _, _, lost = str(error).partition(f"{bus.NOT_STORED}: ")
                if not lost:
                    raise
                key = lost.partition('"')[0]
                raise bus.NotStored(f"signal: the database did not store {key}") from error
            [(moment, ids, _, status)] = cursor.fetchall()
        if status != Tenant.Status.ACTIVE:
            raise Refused(f"tenant: {tenant} is {status or 'deleted'} and takes no directives")
        stored.update(ids or ())
    for directive in directives:
        directive.created_at = moment  # type: ignore[assignment]
        if directive.scheduled_at is None:
            directive.scheduled_at = directive.queued_at = moment
    return stored


def _statement(
    directives: Sequence[Directive], moment: datetime | None, tenant: str
) -> tuple[str, Mapping[str, Any]]:
    first = vars(directives[0])
    values = {name: first[name] for name in _SHARED} | {"moment": moment, "tenant": tenant}
    values["metadata"] = as_json(first["metadata"])
    if len(directives) == 1:
        values |= {name: first[name] for name in _EACH if name != "signal_id"}
        values |= {"signal_id": uuid7(), "payload": as_json(first["payload"])}
    else:
        values |= {name: first[name] for name in _OFTEN_SHARED}
        values |= {"rows": as_json([dict(_row(vars(one), first)) for one in directives])}
    message = adapter.message_for(tenant)
    return _storing(many=len(directives) > 1, waking=bool(message)), values | message


def _row(values: Mapping[str, Any], first: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "id", str(values["id"])
    yield "signal_id", str(uuid7())
    for name in ("payload", "idempotency_key", "subject_id", "ordering_key"):
        yield name, values[name]
    if values["scheduled_at"]:
        yield "scheduled_at", values["scheduled_at"].isoformat()
    for name in _OFTEN_SHARED:
        if values[name] != first[name]:
            yield name, values[name]


def _list(names: Mapping[str, str], form: str) -> str:
    return ", ".join(form.format(name=name, type=kind) for name, kind in names.items())


_EACH = _OWN | _BESIDES | _OFTEN_SHARED
_MOMENT = "coalesce(%(moment)s::timestamptz, statement_timestamp())"
# As Python writes it.
_WHEN = """to_char(made.scheduled_at AT TIME ZONE 'UTC',
    CASE WHEN made.scheduled_at = date_trunc('second', made.scheduled_at)
    THEN 'YYYY-MM-DD"T"HH24:MI:SS"+00:00"' ELSE 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"' END)"""


def _requested(asked: Mapping[str, str]) -> dict[str, str]:
    """Return SQL for the signal of a row of `made`."""
    return events.fact_sql(
        "directive.requested",
        {**asked, **{name: f"%({name})s" for name in _SHARED}, "id": "made.id", "attempt": "0"},
        {"reason": asked["reason"], "idempotency_key": asked["idempotency_key"], "scheduled_at": _WHEN},
        signal_id=asked["signal_id"],
        tenant="%(tenant)s::text",
    )


# In the order in which `store` has put them.
_ASKED = f"""
    SELECT {_list(_OWN | _BESIDES, "{name}")},
        {_list(_OFTEN_SHARED, "coalesce({name}, %({name})s::{type}) AS {name}")}
    FROM json_to_recordset(%(rows)s::json) AS row({_list(_EACH, "{name} {type}")})
    ORDER BY idempotency_key COLLATE "C", id
"""  # noqa: S608 -- the names above


@cache
def _storing(*, many: bool, waking: bool) -> str:
    """Return the statement.

    Args:
        many: whether what is asked comes as `rows`; otherwise it is one row, of parameters.
        waking: whether it stores a wake-up for each time at which any of them is due.
    """
    form = "asked.{name}" if many else "%({name})s::{type}"
    asked = {name: form.format(name=name, type=kind) for name, kind in _EACH.items()}
    when = f"coalesce({asked['scheduled_at']}, {_MOMENT})"
    columns = {name: asked[name] for name in _OWN | _OFTEN_SHARED}
    columns |= {name: f"%({name})s::{kind}" for name, kind in _SHARED.items()}
    columns |= {"scheduled_at": when, "queued_at": when, "created_at": _MOMENT}
    made = "made JOIN asked USING (id)" if many else "made"
    signal = _requested(asked)
    complete = bus.all_stored("announced", "made", signal["dedupe_key"])
    times = f"SELECT DISTINCT greatest(scheduled_at, {_MOMENT}) FROM made"  # noqa: S608
    return f"""
WITH {f"asked AS MATERIALIZED ({_ASKED})," if many else ""} tenant AS MATERIALIZED (
    SELECT status FROM public.tenants_tenant WHERE slug = %(tenant)s::text
), made AS (
    INSERT INTO directives_directive ({", ".join(columns)})
    SELECT {", ".join(columns.values())} {"FROM asked" if many else ""}
    WHERE (SELECT status FROM tenant) = '{Tenant.Status.ACTIVE}'
    ON CONFLICT DO NOTHING RETURNING id, scheduled_at
), announced AS (
    {bus.insertion(made, signal)}
) {f", woken AS ({broker.insertion(times)})" if waking else ""}
SELECT {_MOMENT}, (SELECT array_agg(id) FROM made), {complete}, (SELECT status FROM tenant)
"""  # noqa: S608 -- the names above
