"""Insert validated requests, each with its `directive.requested`, and a wake-up, in one statement.

The unique idempotency key decides which of two requests came first.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime
from operator import itemgetter
from typing import Any, NamedTuple
from uuid import UUID

from django.db import DataError, OperationalError, connection, transaction
from uuid_utils.compat import uuid7

from directives import registry
from directives.errors import KeyConflict, Refused
from directives.handlers import Handler
from directives.lifecycle import queries, transitions
from directives.models import Directive
from directives.queueing import adapter
from directives.registry import AnyHandler, Facts
from directives.requesting import idempotency
from directives.requesting.validation import BatchOptions, ValidatedRequest
from fleetprompt.errors import sqlstate
from fleetprompt.postgres.direct import prepared_cursor
from fleetprompt.postgres.primary_keys import primary_key
from fleetprompt.postgres.queries import array, fetch_all
from fleetprompt.postgres.rows import as_json
from fleetprompt.tenants.models import Tenant
from signals import bus
from signals.types import (
    COMMITMENT,
    ID_LENGTH,
    Personal,
    Subject,
    check_text,
    commit,
    keyed_digest,
    salted,
)

MAX_ROWS = 5000
"""Directives per statement; with payloads of 64 KiB each that stays below what PostgreSQL takes at once."""
MAX_ROUNDS = 100
"""How often keys are chosen anew: each time, another request has taken one of them in the same moment."""
REQUESTED_AGAIN = "directive.requested_again"
"""The signal that somebody else asked for a directive that was known, or for another reason."""
_SERIALIZATION_FAILURES = ("40001", "40P01")
"""SQLSTATEs after which the same transaction may work when it is begun again."""

_NEW = {field.attname: field.get_default() for field in Directive._meta.concrete_fields}
_MADE = {str(field.column): f"made.{field.column}" for field in Directive._meta.concrete_fields}
# As Python writes a time.
_TIME = """to_char({0} AT TIME ZONE 'UTC', CASE WHEN {0} = date_trunc('second', {0})
    THEN 'YYYY-MM-DD"T"HH24:MI:SS"+00:00"' ELSE 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"' END)"""
_SIGNAL = transitions.lifecycle_signal_sql(
    "directive.requested",
    _MADE,
    {
        "reason": f"""CASE asked.reason WHEN '' THEN '""'
            ELSE jsonb_build_object('{COMMITMENT}', asked.reason_digest) END""",
        "idempotency_key": "made.idempotency_key",
        "scheduled_at": _TIME.format("made.scheduled_at"),
        "expires_at": _TIME.format("made.expires_at"),
    },
    signal_id="asked.signal_id",
    tenant="%(tenant)s::text",
)
_SIGNAL["payload"] = f"jsonb_strip_nulls({_SIGNAL['payload']})"
_SIGNAL["personal"] = "nullif(made.personal - 'payload', '{}')"
# What all rows have in common is sent once: as part of each, 5,000 took a tenth longer.
_OFTEN_EQUAL = {
    "name": "text",
    "reason": "text",
    "subject_type": "text",
    "scope": "text",
    "max_attempts": "integer",
}

_NO_FACTS = "SELECT NULL::text, NULL::bigint, NULL::text, NULL::uuid WHERE false"
"""What `registry.facts_lookup` replaces where the statement itself looks up the subject."""


def _columns(types: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in types.items())


_KNOWN = "SELECT idempotency_key FROM directives_directive WHERE idempotency_key = ANY(%s::text[])"
# In the order of the keys, so that two batches that overlap wait for each other instead of deadlocking.
_INSERT = f"""
WITH moment AS MATERIALIZED (
    SELECT coalesce(%(moment)s::timestamptz, statement_timestamp()) AS now
), tenant AS MATERIALIZED (
    SELECT status FROM public.tenants_tenant WHERE slug = %(tenant)s::text
), about (key, revision, scope, member_id) AS MATERIALIZED (
    {_NO_FACTS}
), asked AS MATERIALIZED (
    SELECT id, signal_id, payload, marked, personal_digest, salt, reason_digest, idempotency_key,
        subject_id, member_id, ordering_key, scheduled_at, expires_at,
        coalesce(own.correlation_id, %(correlation_id)s) AS correlation_id,
        coalesce(own.causation_id, %(causation_id)s) AS causation_id,
        {", ".join(f"coalesce(own.{name}, common.{name}) AS {name}" for name in _OFTEN_EQUAL)}
    FROM json_to_record(%(common)s::json) AS common ({_columns(_OFTEN_EQUAL)}),
        json_to_recordset(%(rows)s::json) AS own (
            id uuid, signal_id uuid, payload jsonb, marked jsonb, personal_digest text, salt text,
            reason_digest text, idempotency_key text, subject_id text, member_id uuid, ordering_key text,
            scheduled_at timestamptz, expires_at timestamptz, correlation_id text, causation_id text,
            {_columns(_OFTEN_EQUAL)}
        )
    ORDER BY idempotency_key COLLATE "C", id
), made AS (
    INSERT INTO directives_directive (
        id, name, status, payload, personal, personal_digest, idempotency_key, subject_type, subject_id,
        ordering_key, attempt, max_attempts, last_error, scheduled_at, queued_at, created_at, requested_at,
        expires_at,
        metadata, actor_type, actor_id, actor_label, correlation_id, causation_id, scope, member_id
    )
    SELECT id, name, 'requested', payload,
        CASE reason WHEN '' THEN '{{}}'
            ELSE jsonb_build_object('reason', jsonb_build_array(salt, reason)) END
        || CASE WHEN marked IS NULL THEN '{{}}' ELSE jsonb_build_object('payload', marked) END,
        coalesce(personal_digest, ''), idempotency_key, subject_type, subject_id, ordering_key, 0,
        max_attempts, '', coalesce(scheduled_at, now), coalesce(scheduled_at, now), now, now, expires_at,
        %(metadata)s::jsonb, %(actor_type)s, %(actor_id)s, %(actor_label)s, correlation_id,
        causation_id, coalesce((SELECT about.scope FROM about), scope),
        coalesce(member_id, (SELECT about.member_id FROM about))
    FROM asked, moment WHERE (SELECT status FROM tenant) = '{Tenant.Status.ACTIVE}'
    ON CONFLICT DO NOTHING RETURNING *
), announced AS (
    {bus.insertion("made JOIN asked USING (id)", _SIGNAL)}
), due AS (
    SELECT DISTINCT greatest(scheduled_at, now) AS at FROM made, moment
), woken AS (
    {adapter.INSERTION}
)
SELECT now, (SELECT array_agg(id) FROM made), {bus.all_stored("announced", "made", _SIGNAL["dedupe_key"])},
    (SELECT status FROM tenant), (SELECT scope FROM about), (SELECT member_id FROM about)
FROM moment
"""  # noqa: S608 -- made of constants


class Requested(NamedTuple):
    """The stored directive, and whether this request created it (False: the key was known)."""

    directive: Directive
    created: bool


class _KeyTaken(Exception):
    """A default key belongs to another request, which came first."""


def insert(
    items: Sequence[ValidatedRequest | Refused], options: BatchOptions, tenant: Tenant, *, whole: bool
) -> list[Requested | Refused]:
    """Insert the items that were not refused, in the caller's transaction or in one of their own.

    Args:
        whole: insert all, or raise the first refusal.

    Returns:
        for each item what is stored, or why it was refused.

    Raises:
        NotStored: the database did not take the signal of one; nothing is stored.
        Refused: the tenant is not active any more.
    """
    is_ours = connection.get_autocommit() and not connection.in_atomic_block
    is_single = len(items) == 1
    # The key of a single request is new as a rule: a look would cost it another tenth of processor time.
    look, may_repeat = not is_single, is_ours
    for _ in range(MAX_ROUNDS):
        try:
            # A single statement is a transaction itself; BEGIN and COMMIT would cost an eighth more.
            with nullcontext() if is_ours and is_single else transaction.atomic():
                return _insert_once(items, options, tenant, whole=whole, look=look)
        except _KeyTaken as error:
            # Nothing is kept: keys inserted out of their order could deadlock with another batch.
            taken, look = error, True
        except OperationalError as error:
            if not may_repeat or sqlstate(error) not in _SERIALIZATION_FAILURES:
                raise
            may_repeat = False
    raise KeyConflict(f"idempotency_key: others have taken {taken} and those before it; ask again")


def _insert_once(
    items: Sequence[ValidatedRequest | Refused],
    options: BatchOptions,
    tenant: Tenant,
    *,
    whole: bool,
    look: bool,
) -> list[Requested | Refused]:
    valid = [item for item in items if not isinstance(item, Refused)]
    # With a key of its own, a single request asks for no revision, and a query for the rest would cost
    # a third of its time (ADR 0093): the INSERT reads it.
    later = len(valid) == 1 and valid[0].key is not None and not _names_scopes(valid[0].handler)
    facts = [Facts()] if later else _facts(valid)
    keys = _keys(valid, [one.revision for one in facts], tenant.slug, look=look)
    rows = _rows(valid, keys, facts, tenant.slug)
    shared = {
        "metadata": options.metadata,
        "actor_type": options.actor.type,
        "actor_id": options.actor.id,
        "actor_label": options.actor.label,
        "correlation_id": options.correlation_id,
        "causation_id": options.causation_id,
    }
    moment, created = _insert_rows(rows, shared, tenant.slug, valid[0].subject if later else None)
    alike = _NEW | shared
    made = [_directive(alike | row, moment) for row in rows]
    stored = {row.idempotency_key: row for row in made if row.id in created}
    if known := {*keys} - stored.keys():
        earlier = Directive.objects.filter(idempotency_key__in=known)
        stored |= {directive.idempotency_key: directive for directive in earlier}
    results = [
        _result(item, row, stored.get(row.idempotency_key), tenant.slug, looked=look)
        for item, row in zip(valid, made, strict=True)
    ]
    given = iter(results)
    answers = [item if isinstance(item, Refused) else next(given) for item in items]
    if whole and (refused := next((one for one in answers if isinstance(one, Refused)), None)):
        raise refused
    if len(created) < len(made):
        _record_repeated(made, results, tenant.slug)
    return answers


def _rows(
    items: Sequence[ValidatedRequest], keys: Sequence[str], facts: Sequence[Facts], tenant: str
) -> list[dict[str, Any]]:
    """Return what is sent of each item: columns, with commitments in the place of personal values."""
    committed = commit(item.reason for item in items)
    return [
        {
            "id": uuid7(),
            "idempotency_key": key,
            "scope": one.scope or "",
            "member_id": one.member_id,
            **item.columns,
            "salt": salt,
            "reason_digest": digest,
            "marked": None,
            **_marked(item, salt, tenant),
        }
        for item, key, one, (salt, digest) in zip(items, keys, facts, committed, strict=True)
    ]


def _marked(item: ValidatedRequest, salt: str, tenant: str) -> dict[str, Any]:
    """Return the payload with commitments, what its marked fields hold, and a digest; nothing without any.

    Args:
        salt: of the directive's reason, which a payload's own reason as a rule is.
    """
    payload = item.payload
    if item.handler.personal_fields.isdisjoint(payload):
        return {}
    own = item.handler.personal_values(payload)
    found = {field: Personal(value) for field, value in own.items()}
    if reason := payload.get("reason"):
        found["reason"] = Personal(reason, salt) if reason == item.reason else Personal(reason)
    return {
        "payload": payload | {field: one.commitment for field, one in found.items()},
        "marked": {field: [one.salt, one.value] for field, one in found.items()},
        "personal_digest": keyed_digest(own, purpose=idempotency.PURPOSE, tenant=tenant) if own else "",
    }


def _record_repeated(
    made: Sequence[Directive], results: Sequence[Requested | Refused], tenant: str
) -> None:
    """Record who else asked for a directive that was known, or for what other reason, once for each."""
    repeated = [
        (row, result.directive)
        for row, result in zip(made, results, strict=True)
        if not isinstance(result, Refused)
        and not result.created
        and _asker(row) != _asker(result.directive)
    ]
    if not repeated:
        return
    with transaction.atomic(savepoint=False):
        kept = queries.keep_texts({stored.pk for _, stored in repeated})
        signals = []
        for row, stored in repeated:
            asked = keyed_digest([*_asker(row)], purpose=REQUESTED_AGAIN, tenant=tenant)
            details = {
                "reason": row.reason and Personal(row.reason),
                "first_actor": str(stored.actor),
                "first_reason": salted(stored.personal if stored.pk in kept else None, "reason"),
            }
            signal = transitions.lifecycle_signal(
                stored, REQUESTED_AGAIN, details, tenant=tenant, actor=row.actor
            )
            signal.dedupe_key = f"{REQUESTED_AGAIN}:{tenant}:{stored.pk}:{stored.attempt}:{asked}"
            signals.append(signal)
        # One that is known tells the same.
        bus.store(signals)


def _asker(directive: Directive) -> tuple[str, str, str]:
    return directive.actor_type, directive.actor_id, directive.reason


def _facts(items: Sequence[ValidatedRequest]) -> list[Facts]:
    """Return the facts about each item's subject, with the scope that its handler names."""
    found = registry.subject_facts([item.subject for item in items])
    for handler in filter(_names_scopes, {item.handler for item in items}):
        places = [place for place, item in enumerate(items) if item.handler is handler]
        scopes = handler.scopes([items[place].parsed for place in places])
        for place, scope in zip(places, scopes, strict=True):
            found[place] = found[place]._replace(scope=check_text("scope", scope, length=ID_LENGTH))
    return found


def _names_scopes(handler: AnyHandler) -> bool:
    return type(handler).scopes is not Handler.scopes


def _keys(
    items: Sequence[ValidatedRequest], revisions: Sequence[int | None], tenant: str, *, look: bool
) -> list[str]:
    """Return the key of each item: the caller's, or the handler's with the subject's revision.

    Args:
        look: whether to look up which of these keys are known; then `idempotency` decides.
    """
    keys = [
        item.numbered_key(tenant, revision or 0) for item, revision in zip(items, revisions, strict=True)
    ]
    known = _known(keys) if look else set()
    groups = {item.ordering_key or key for item, key in zip(items, keys, strict=True)}
    if not known and len(groups) == len(items):
        return keys
    return idempotency.resolve(items, tenant, revisions, keys, known)


def _known(keys: Sequence[str]) -> set[str]:
    return {key for (key,) in fetch_all(_KNOWN, array({*keys}))}


def _directive(values: dict[str, Any], moment: datetime | None) -> Directive:
    reason, salt, marked, _ = (values.pop(name) for name in ("reason", "salt", "marked", "reason_digest"))
    values["personal"] = ({"reason": [salt, reason]} if reason else {}) | (
        {"payload": marked} if marked else {}
    )
    at = values["scheduled_at"] or moment
    values |= {"scheduled_at": at, "queued_at": at, "created_at": moment, "requested_at": moment}
    # By name, Django takes several times as long.
    made: Directive = Directive.from_db(connection.alias, list(values), list(values.values()))
    return made


def _insert_rows(
    rows: Sequence[dict[str, Any]], shared: Mapping[str, Any], tenant: str, unread: Subject | None
) -> tuple[datetime | None, set[UUID]]:
    """Insert directives, their signals and wake-ups, but none whose key is taken.

    A concurrent insert of a key makes this one wait and then lose.

    Args:
        shared: columns that all rows have in common.
        unread: the subject of the only row, if its scope and its member are to be read; the row gets them.

    Returns:
        the database's time, one for all rows, and the ids of those that were inserted.
    """
    created: set[UUID] = set()
    statement, keys = _reading(unread)
    values = {**shared, **adapter.message_for(tenant), "tenant": tenant, "moment": None, "keys": keys}
    values["metadata"] = as_json(shared["metadata"])
    # Python's order of texts is that of `COLLATE "C"`.
    ordered = sorted(rows, key=itemgetter("idempotency_key"))
    for start in range(0, len(ordered), MAX_ROWS):
        some = ordered[start : start + MAX_ROWS]
        first = some[0]
        common = {
            name: first[name] for name in _OFTEN_EQUAL if all(row[name] == first[name] for row in some)
        }
        sent = [_own(row, common) for row in some]
        sending = {**values, "common": as_json(common), "rows": as_json(sent)}
        values["moment"], ids, scope, member_id = _execute(statement, sending)
        created.update(ids)
        if unread:
            first |= {"scope": scope or "", "member_id": member_id}
    return values["moment"], created


def _own(row: Mapping[str, Any], common: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is sent of a row: what is not common to all, and not null."""
    own = {name: value for name, value in row.items() if value is not None and name not in common}
    own |= {"id": str(row["id"]), "signal_id": str(uuid7())}
    if row["member_id"]:
        # `as_json` takes twice as long.
        own["member_id"] = str(row["member_id"])
    return own


def _reading(subject: Subject | None) -> tuple[str, str]:
    """Return the statement that inserts, and the key of the subject whose facts it reads, if any."""
    model = registry.subject_model(subject.type) if subject else None
    sql = registry.facts_lookup(model) if model else None
    key = primary_key(model, subject.id) if model and subject and sql else None
    return (_INSERT, "") if key is None or not sql else (_INSERT.replace(_NO_FACTS, sql.one), str(key))


def _execute(
    statement: str, values: Mapping[str, Any]
) -> tuple[datetime, Sequence[UUID], str | None, UUID | None]:
    with prepared_cursor() as cursor:
        try:
            cursor.execute(statement, values)
        except DataError as error:
            _, _, lost = str(error).partition(f"{bus.NOT_STORED}: ")
            if not lost:
                raise
            key = lost.partition('"')[0]
            raise bus.NotStored(f"signal: the database did not store {key}") from error
        [(now, ids, _, status, *read)] = cursor.fetchall()
    if status != Tenant.Status.ACTIVE:
        raise Refused(f"tenant: {values['tenant']} is {status or 'deleted'} and takes no directives")
    return now, ids or (), *read


def _result(
    item: ValidatedRequest, row: Directive, stored: Directive | None, tenant: str, *, looked: bool
) -> Requested | KeyConflict:
    """Compare what was asked with what is stored under its key.

    Raises:
        _KeyTaken: that is another request, and the key may be another one, too.
    """
    if stored is None:
        # It was deleted in this moment.
        raise _KeyTaken(repr(row.idempotency_key))
    if stored.pk == row.pk:
        return Requested(stored, created=True)
    if looked and item.key is None and idempotency.is_same(item, stored, row.created_at):
        return Requested(stored, created=False)
    if not item.has_fixed_key(tenant):
        raise _KeyTaken(repr(row.idempotency_key))
    is_same = idempotency.same_payload(stored, item)
    if stored.name == row.name and is_same and stored.expires_at == row.expires_at:
        return Requested(stored, created=False)
    return KeyConflict(
        f"idempotency_key: {row.idempotency_key!r} belongs to the directive {stored.id} "
        f"({stored.name}, {stored.status}), which has another "
        f"{'name' if stored.name != row.name else 'expires_at' if is_same else 'payload'}"
    )
