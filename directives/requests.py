"""Requesting directives: check, store, say so and wake a worker, in the caller's transaction."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import OperationalError, connection, transaction
from uuid_utils.compat import uuid7

from directives.errors import KeyConflict, Refused
from directives.models import Directive
from directives.monitoring import telemetry
from directives.queueing import adapter
from directives.requesting import idempotency, insertion
from directives.requesting.garbage import no_collecting
from directives.requesting.validation import Checked, Common, DirectiveRequest, check_common, check_item
from fleetprompt.errors import sqlstate
from fleetprompt.tenants.context import active_tenant
from fleetprompt.tenants.models import Tenant
from signals.types import Actor

__all__ = ["DirectiveRequest", "Requested", "request", "request_each", "request_many"]


MANY = 500
"""From this size on, a batch is worth keeping the garbage collector away."""
ROUNDS = 100
"""How often keys are chosen anew: each time, another request has taken one of them in the same moment."""
_OUT_OF_STEP = ("40001", "40P01")
"""What PostgreSQL answers where the same transaction may work when it is begun again."""
_NEW = {field.attname: field.get_default() for field in Directive._meta.concrete_fields}


class _Overtaken(Exception):
    """Another request has taken a default key for another wish, after it was found to be free."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


class Requested(NamedTuple):
    """The stored directive, and whether this request created it (False: the key was known)."""

    directive: Directive
    created: bool


def request(
    name: str,
    payload: Mapping[str, Any],
    *,
    actor: Actor,
    reason: str = "",
    idempotency_key: str | None = None,
    scheduled_at: datetime | None = None,
    correlation_id: str | None = None,
    causation_id: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Requested:
    """Request one directive in the active tenant, in the caller's transaction.

    Args:
        name: a registered directive, such as `forum.thread.lock`.
        payload: what the handler's model expects, as JSON values.
        actor: who asks; a user needs the directive's permission.
        reason: why, at most 1,000 characters; the payload's `reason` when empty.
        idempotency_key: asking twice with one key is one directive; at most 512 characters. By
            default the handler's own key, which a double click shares and a later wish does not.
        scheduled_at: not to run before this time (with a time zone); now by default.
        correlation_id: groups all work of one request; a new one by default.
        causation_id: the id of what led to it.
        metadata: JSON-safe details about the request rather than the command, without the runner's keys.

    Raises:
        NoActiveTenant: called outside `in_tenant`.
        UnknownDirective: no such name; the error lists the near ones.
        InvalidPayload: naming each field that is wrong and what was expected.
        SecretRefused: something in the payload, the reason or the metadata looks like a secret.
        PermissionRefused: the user may not request it.
        KeyConflict: the key that was given belongs to a directive with another name or payload.
    """
    item = DirectiveRequest(name, payload, reason, idempotency_key, scheduled_at)
    return request_many(
        [item],
        actor=actor,
        correlation_id=correlation_id,
        causation_id=causation_id,
        metadata=metadata,
    )[0]


def request_many(
    items: Iterable[DirectiveRequest | Mapping[str, Any] | Sequence[Any]],
    *,
    actor: Actor,
    reason: str = "",
    correlation_id: str | None = None,
    causation_id: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> list[Requested]:
    """Request many directives at once: all of them, in a handful of statements, or none.

    Args:
        items: `DirectiveRequest`s, or mappings or sequences of their fields.
        reason: for the items that have none of their own.

    The other arguments are those of `request` and apply to every item; all share one correlation id.

    Returns:
        one `Requested` per item, in order.

    Raises:
        Refused: what `request` raises, for the first item that is refused; nothing was stored.
    """
    results = _request(list(items), actor, reason, correlation_id, causation_id, metadata, whole=True)
    return [result for result in results if isinstance(result, Requested)]


def request_each(
    items: Iterable[DirectiveRequest | Mapping[str, Any] | Sequence[Any]],
    *,
    actor: Actor,
    reason: str = "",
    correlation_id: str | None = None,
    causation_id: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> list[Requested | Refused]:
    """Request the items that can be, and give back for each what was stored or why it was refused.

    Arguments are those of `request_many`.

    Raises:
        NoActiveTenant: called outside `in_tenant`.
        Refused: an argument that applies to all items is wrong.
    """
    return _request(list(items), actor, reason, correlation_id, causation_id, metadata, whole=False)


def _request(
    wishes: Sequence[DirectiveRequest | Mapping[str, Any] | Sequence[Any]],
    actor: Actor,
    reason: str,
    correlation_id: str | None,
    causation_id: str | None,
    metadata: Mapping[str, Any] | None,
    *,
    whole: bool,
) -> list[Requested | Refused]:
    """Request what can be; with `whole`, all or nothing."""
    tenant = active_tenant()
    if tenant.status != Tenant.Status.ACTIVE:
        raise Refused(f"tenant: {tenant.slug} is {tenant.status} and takes no directives")
    common = check_common(actor, reason, correlation_id, causation_id, metadata)
    with (
        no_collecting() if len(wishes) >= MANY else nullcontext(),
        telemetry.requesting(tenant.slug, common.correlation_id),
    ):
        checked = [check_item(item, common) for item in wishes]
        names = [item.handler.name for item in checked if isinstance(item, Checked)]
        carried = common.metadata | telemetry.about_to_store(names)
        return _store_at_last(checked, replace(common, metadata=carried), tenant, whole=whole)


def _store_at_last(
    checked: Sequence[Checked | Refused], common: Common, tenant: Tenant, *, whole: bool
) -> list[Requested | Refused]:
    """Store, beginning again when another request was faster: what it has stored counts then."""
    ours = connection.get_autocommit() and not connection.in_atomic_block
    # One is stored by a statement of its own, which is its transaction unless the caller has begun one.
    alone = ours and len(checked) == 1
    again = ours
    for _ in range(ROUNDS):
        try:
            with nullcontext() if alone else transaction.atomic():
                return _store(checked, common, tenant, whole=whole)
        except _Overtaken as overtaken:
            # Nothing is kept: keys stored out of their order could lock out a batch that waits for others.
            taken = overtaken.key
        except OperationalError as error:
            if not again or sqlstate(error) not in _OUT_OF_STEP:
                raise
            again = False
    raise KeyConflict(f"idempotency_key: others have taken {taken!r} and those before it; ask again")


def _store(
    checked: Sequence[Checked | Refused], common: Common, tenant: Tenant, *, whole: bool
) -> list[Requested | Refused]:
    good = [item for item in checked if isinstance(item, Checked)]
    rows, created = _insert(good, common, tenant.slug)
    # The constraint decides who was first, not a look before the insert.
    stored = {row.idempotency_key: row for row in rows if row.id in created}
    if known := {row.idempotency_key for row in rows} - stored.keys():
        earlier = Directive.objects.filter(idempotency_key__in=known)
        stored |= {directive.idempotency_key: directive for directive in earlier}
    results = iter(
        [
            _result(item, row, stored.get(row.idempotency_key), tenant.slug)
            for item, row in zip(good, rows, strict=True)
        ]
    )
    answers = [item if isinstance(item, Refused) else next(results) for item in checked]
    if whole and (refused := next((one for one in answers if isinstance(one, Refused)), None)):
        raise refused
    _announce([row for row in rows if row.id in created], tenant)
    return answers


def _insert(
    wishes: Sequence[Checked], common: Common, tenant: str
) -> tuple[list[Directive], Collection[UUID]]:
    """Return a directive for each wish, and the ids of those that are stored by now."""
    if not wishes:
        return [], ()
    if len(wishes) == 1:
        # Its key is new as a rule, and then nobody has to look at what there is.
        row = _row(wishes[0], idempotency.first(wishes[0], tenant), common)
        if created := insertion.store([row], tenant):
            return [row], created
    rows = [_row(*pair, common) for pair in zip(wishes, idempotency.keys(wishes, tenant), strict=True)]
    return rows, insertion.store(rows, tenant)


def _row(item: Checked, key: str, common: Common) -> Directive:
    subject = item.subject
    values = _NEW | {
        "id": uuid7(),
        "name": item.handler.name,
        "payload": item.payload,
        "metadata": common.metadata,
        "reason": item.reason,
        "idempotency_key": key,
        "actor_type": common.actor.type,
        "actor_id": common.actor.id,
        "actor_label": common.actor.label,
        "subject_type": subject.type if subject else "",
        "subject_id": subject.id if subject else "",
        "ordering_key": item.line,
        "correlation_id": common.correlation_id,
        "causation_id": common.causation_id,
        "max_attempts": item.handler.retry.max_attempts,
        # None becomes the time of the insert.
        "scheduled_at": item.scheduled_at,
        "queued_at": item.scheduled_at,
        "created_at": None,
    }
    # By name, Django takes several times as long.
    return Directive.from_db(connection.alias, list(values), list(values.values()))


def _result(
    wish: Checked, row: Directive, stored: Directive | None, tenant: str
) -> Requested | KeyConflict:
    """Compare what was asked with what is stored under its key.

    Raises:
        _Overtaken: it is another wish, and the key was nobody's choice.
    """
    if stored is None:
        # It was deleted in this moment.
        raise _Overtaken(row.idempotency_key)
    if stored.pk == row.pk:
        return Requested(stored, created=True)
    if wish.key is None and idempotency.fits(wish, stored, row.created_at):
        return Requested(stored, created=False)
    if not idempotency.is_pinned(wish, tenant):
        raise _Overtaken(row.idempotency_key)
    if stored.name == row.name and idempotency.same_payload(stored.payload, row.payload):
        return Requested(stored, created=False)
    return KeyConflict(
        f"idempotency_key: {row.idempotency_key!r} belongs to the directive {stored.id} "
        f"({stored.name}, {stored.status}), which has another "
        f"{'payload' if stored.name == row.name else 'name'}"
    )


def _announce(created: Sequence[Directive], tenant: Tenant) -> None:
    if not created:
        return
    # By the database's clock alone: it is what decides when they are due.
    if any(directive.scheduled_at <= directive.created_at for directive in created):
        adapter.announce(tenant)
    telemetry.stored(created, tenant.slug)
