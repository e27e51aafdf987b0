"""Insert signals: build one with `fact`, insert it with `record`, or do both with `emit`.

No signal is lost silently: `store` returns what was not stored, everything else raises an error.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypedDict, Unpack
from uuid import UUID

from uuid_utils.compat import uuid7

from fleetprompt.errors import Refused
from fleetprompt.postgres.rows import insert
from fleetprompt.tenants.context import active_tenant
from signals.models import Signal
from signals.personal import Personal
from signals.types import (
    ID_LENGTH,
    KEY_LENGTH,
    NAME_LENGTH,
    Actor,
    Subject,
    check_identifier,
    check_moment,
    check_name,
    check_stored,
    check_text,
    json_object,
)

NOT_STORED = "signals were not stored"
"""The text in the database's error when a statement with `all_stored` fails."""


class NotStored(Refused):
    """The signals table did not take a signal; whoever gets this rolls back what the signal tells of."""


class Emitted(NamedTuple):
    """The stored signal, and whether this call stored it (False: the dedupe key was known)."""

    signal: Signal
    created: bool


class Details(TypedDict, total=False):
    """Optional parts of a signal besides its name, payload, key and actor; see `emit`."""

    subject: Subject | None
    occurred_at: datetime | None
    source: str
    correlation_id: str | None
    causation_id: str | None
    metadata: Mapping[str, Any] | None
    member_id: UUID | None


def emit(
    name: str,
    payload: Mapping[str, Any] | None = None,
    *,
    dedupe_key: str,
    actor: Actor,
    **details: Unpack[Details],
) -> Emitted:
    """Record that something happened in the active tenant, in the caller's transaction.

    Args:
        name: a fact in the past tense, such as `forum.thread.locked`.
        payload: JSON-safe details; values that are `Personal` can be erased later.
        dedupe_key: unique in the tenant, at most 512 characters; it identifies one fact, so emitting with a
            known key stores nothing and gives the stored signal back, whatever the payload.
        actor: the user, agent or process that caused it.
        subject: what it is about.
        occurred_at: when it happened, with a time zone; the moment of recording by default.
        source: the part of the program that says so.
        correlation_id: groups all work of one request.
        causation_id: the id of what led to it.
        metadata: JSON-safe details about the recording rather than the fact.
        member_id: whom it is about.

    Raises:
        NoActiveTenant: called outside `in_tenant`.
        Refused: naming the argument that is not as expected.
        NotStored: the key belongs to a signal of another name or about another subject, or the
            database stored nothing.
    """
    signal = fact(name, payload, dedupe_key=dedupe_key, actor=actor, **details)
    for field in ("dedupe_key", "source", "correlation_id", "causation_id"):
        check_identifier(field, getattr(signal, field), length=KEY_LENGTH)
    store([signal])
    stored = Signal.objects.filter(dedupe_key=signal.dedupe_key).first()
    if stored is None:
        raise NotStored(f"signal: the database did not store {signal.dedupe_key}")
    if (stored.name, stored.subject) != (signal.name, signal.subject):
        raise NotStored(f"dedupe_key: {signal.dedupe_key} belongs to another fact, {stored}")
    return Emitted(stored, created=stored.pk == signal.pk)


def fact(
    name: str,
    payload: Mapping[str, Any] | None = None,
    *,
    dedupe_key: str,
    actor: Actor,
    subject: Subject | None = None,
    occurred_at: datetime | None = None,
    source: str = "",
    correlation_id: str | None = None,
    causation_id: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    member_id: UUID | None = None,
) -> Signal:
    """Return a checked signal that is not stored yet; arguments and errors are those of `emit`.

    Control characters in ids are let through: a directive that was stored before they were refused
    passes its own on.
    """
    check_stored(actor, subject)
    given = payload or {}
    personal = {key: value for key, value in given.items() if isinstance(value, Personal)}
    plain = json_object("payload", {**given, **{key: one.value for key, one in personal.items()}})
    # By name, Django takes several times as long. The database gives the time of what has none.
    values: Any = (
        uuid7(),
        check_name(name),
        check_text("dedupe_key", dedupe_key, length=KEY_LENGTH, required=True),
        {**plain, **{key: one.commitment for key, one in personal.items()}},
        json_object("metadata", metadata or {}),
        None if occurred_at is None else check_moment("occurred_at", occurred_at),
        None,
        actor.type,
        actor.id,
        actor.label,
        subject.type if subject else "",
        subject.id if subject else "",
        check_text("source", source, length=NAME_LENGTH),
        check_text("correlation_id", correlation_id or "", length=ID_LENGTH),
        check_text("causation_id", causation_id or "", length=ID_LENGTH),
        member_id,
        {key: [one.salt, plain[key]] for key, one in personal.items()} or None,
    )
    return Signal(*values)


def insertion(source: str, values: Mapping[str, str]) -> str:
    """Return SQL that stores one signal for each row of a statement's own rows, all at one moment.

    It is for signals that follow from rows whose values were checked, and is refused when a dedupe key
    is taken. The caller provides the rows, and checks that a tenant is active. Its rows are the dedupe
    keys that were stored; `all_stored`, in the same statement, checks that these are all.

    Args:
        source: the SQL after FROM, within the statement.
        values: SQL for each column except metadata and the times; without `personal`, it is NULL.
    """
    columns = {
        "personal": "NULL::jsonb",
        **values,
        "metadata": "'{}'",
        "occurred_at": "moment.at",
        "recorded_at": "moment.at",
    }
    if columns.keys() != {field.column for field in Signal._meta.concrete_fields}:
        raise ValueError(f"values: expected every column of a signal; got {', '.join(values)}")
    # What is materialized is evaluated once, while the signals are inserted.
    return (
        f"INSERT INTO {Signal._meta.db_table} ({', '.join(columns)})"  # noqa: S608 -- columns of the model
        f" WITH moment AS MATERIALIZED (SELECT clock_timestamp() AS at)"
        f" SELECT {', '.join(columns.values())} FROM moment, {source} RETURNING dedupe_key"
    )


def all_stored(stored: str, source: str, dedupe_key: str = "") -> str:
    """Return SQL that is true, and fails with `NOT_STORED`, unless each row left its signal.

    Something in the database, such as a trigger, may leave rows out without an error.

    Args:
        stored: the name of the `insertion`, among the statement's WITH queries.
        source: the name of the one whose rows the signals follow from.
        dedupe_key: SQL for the key of the signal of a row of `source`, to name a lost one; planning that
            costs a quarter of a millisecond where the statement is not prepared.
    """
    # The time, as what is constant would fail while the statement is planned.
    lost = "clock_timestamp()"
    if dedupe_key:
        lost = f"(SELECT {dedupe_key} FROM {source} EXCEPT SELECT dedupe_key FROM {stored} LIMIT 1)"  # noqa: S608
    return (
        f"CASE WHEN (SELECT count(*) FROM {stored}) = (SELECT count(*) FROM {source}) THEN true"  # noqa: S608
        # No text like this is a boolean, and the error quotes it.
        f" ELSE ('{NOT_STORED}: ' || {lost})::boolean END"
    )


def record(signals: Sequence[Signal]) -> None:
    """Store signals made by `fact` in one statement.

    Raises:
        NoActiveTenant: called outside `in_tenant`.
        NotStored: naming the key of the first one that was not stored; the others were, so that the caller
            has to roll back.
    """
    if lost := store(signals):
        raise NotStored(f"signal: the database did not store {lost[0].dedupe_key}, or has it already")


def store(signals: Sequence[Signal]) -> list[Signal]:
    """Store those of the signals made by `fact` that can be, in one statement.

    Returns:
        those that were not: their dedupe keys are known, or the database left them out.

    Raises:
        NoActiveTenant: called outside `in_tenant`.
    """
    active_tenant()
    # The constraint decides which came first; a concurrent insert of the same key makes this one wait.
    stored = insert(signals)
    if len(stored) == len(signals):
        return []
    ids = {signal.pk for signal in stored}
    return [signal for signal in signals if signal.pk not in ids]
