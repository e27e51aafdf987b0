"""Requesting directives: check, store, say so and wake a worker, in the caller's transaction."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import uuid4

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from directives import journal, keys, permissions, queue, registry
from directives.errors import InvalidPayload, KeyConflict, PermissionRefused, Refused, SecretRefused
from directives.models import PAYLOAD_BYTES, REASON_LENGTH, Directive
from directives.registry import AnyHandler
from directives.secrets import find_secret
from fleetprompt.tenants.context import active_tenant
from fleetprompt.tenants.models import Tenant
from signals import bus
from signals.types import ID_LENGTH, KEY_LENGTH, Actor, check_moment, check_text, json_object


class DirectiveRequest(NamedTuple):
    """One directive to request in a batch; the fields are those of `request`."""

    name: str
    payload: Mapping[str, Any]
    reason: str = ""
    idempotency_key: str | None = None
    scheduled_at: datetime | None = None


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
        metadata: JSON-safe details about the request rather than the command.

    Raises:
        NoActiveTenant: called outside `in_tenant`.
        UnknownDirective: no such name; the error lists the near ones.
        InvalidPayload: naming each field that is wrong and what was expected.
        SecretRefused: something in the payload, the reason or the metadata looks like a secret.
        PermissionRefused: the user may not request it.
        KeyConflict: the key belongs to a directive with another name or payload.
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
    with transaction.atomic():
        results = request_each(
            items,
            actor=actor,
            reason=reason,
            correlation_id=correlation_id,
            causation_id=causation_id,
            metadata=metadata,
        )
        stored = []
        for result in results:
            if isinstance(result, Refused):
                raise result
            stored.append(result)
    return stored


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
    tenant = active_tenant()
    if tenant.status != Tenant.Status.ACTIVE:
        raise Refused(f"tenant: {tenant.slug} is {tenant.status} and takes no directives")
    if not isinstance(actor, Actor):
        raise InvalidPayload(f"actor: expected an Actor; got {type(actor).__name__}")
    common = _Common(
        actor=actor,
        reason=_reason(reason),
        correlation_id=_text("correlation_id", correlation_id or str(uuid4()), ID_LENGTH),
        causation_id=_text("causation_id", causation_id or "", ID_LENGTH),
        metadata=_plain("metadata", metadata or {}),
    )
    checked = [_check_item(item, common) for item in items]
    with transaction.atomic():
        return _store(checked, common, tenant)


@dataclass(frozen=True, slots=True)
class _Common:
    """The checked arguments that all items of a batch share."""

    actor: Actor
    reason: str
    correlation_id: str
    causation_id: str
    metadata: dict[str, Any]
    refusals: dict[str, PermissionRefused | None] = field(default_factory=dict)

    def check_permission(self, handler: AnyHandler) -> None:
        """Refuse a handler that the actor may not request, looking only once in a batch."""
        if handler.name not in self.refusals:
            try:
                permissions.check(self.actor, handler.permission, f"request {handler.name}")
                self.refusals[handler.name] = None
            except PermissionRefused as refusal:
                self.refusals[handler.name] = refusal
        if refused := self.refusals[handler.name]:
            raise refused


@dataclass(frozen=True, slots=True)
class _Checked:
    """One item that may be stored."""

    handler: AnyHandler
    parsed: Any
    payload: dict[str, Any]
    reason: str
    key: str | None
    scheduled_at: datetime | None


def _check_item(
    item: DirectiveRequest | Mapping[str, Any] | Sequence[Any], common: _Common
) -> _Checked | Refused:
    try:
        return _checked(_as_request(item), common)
    except Refused as refusal:
        return refusal


def _as_request(item: DirectiveRequest | Mapping[str, Any] | Sequence[Any]) -> DirectiveRequest:
    if isinstance(item, DirectiveRequest):
        return item
    try:
        return DirectiveRequest(**item) if isinstance(item, Mapping) else DirectiveRequest(*item)
    except TypeError:
        fields = ", ".join(DirectiveRequest._fields)
        raise InvalidPayload(f"request: expected the fields {fields}, name and payload at least") from None


def _checked(item: DirectiveRequest, common: _Common) -> _Checked:
    handler = registry.get(item.name)
    raw = _plain("payload", item.payload)
    parsed = handler.parse(raw)
    payload = handler.dump(parsed)
    size = len(json.dumps(payload, ensure_ascii=False).encode())
    if size > PAYLOAD_BYTES:
        raise InvalidPayload(f"payload: expected at most {PAYLOAD_BYTES} bytes as JSON; got {size}")
    common.check_permission(handler)
    scheduled_at = None if item.scheduled_at is None else _moment("scheduled_at", item.scheduled_at)
    key = item.idempotency_key
    return _Checked(
        handler=handler,
        parsed=parsed,
        payload=payload,
        reason=_reason(item.reason or "") or common.reason or payload.get("reason", ""),
        key=None if key is None else _text("idempotency_key", key, KEY_LENGTH, required=True),
        scheduled_at=scheduled_at if scheduled_at and scheduled_at > timezone.now() else None,
    )


def _store(
    checked: Sequence[_Checked | Refused], common: _Common, tenant: Tenant
) -> list[Requested | Refused]:
    good = [item for item in checked if isinstance(item, _Checked)]
    wishes = [keys.Wish(item.handler, item.parsed, item.scheduled_at) for item in good]
    default = keys.default_keys(wishes, tenant.slug)
    rows = [_row(item, item.key or key, common) for item, key in zip(good, default, strict=True)]
    # The constraint decides who was first, not a look before the insert.
    Directive.objects.bulk_create(rows, ignore_conflicts=True, batch_size=1000)
    stored = {
        directive.idempotency_key: directive
        for directive in Directive.objects.filter(idempotency_key__in=[row.idempotency_key for row in rows])
    }
    results = iter([_result(row, stored[row.idempotency_key]) for row in rows])
    answers = [item if isinstance(item, Refused) else next(results) for item in checked]
    _announce([a.directive for a in answers if isinstance(a, Requested) and a.created], tenant)
    return answers


def _row(item: _Checked, key: str, common: _Common) -> Directive:
    subject = item.handler.subject(item.parsed)
    later = {"scheduled_at": item.scheduled_at, "queued_at": item.scheduled_at}
    return Directive(
        name=item.handler.name,
        payload=item.payload,
        metadata=common.metadata,
        reason=item.reason,
        idempotency_key=key,
        actor_type=common.actor.type,
        actor_id=common.actor.id,
        actor_label=common.actor.label,
        subject_type=subject.type if subject else "",
        subject_id=subject.id if subject else "",
        ordering_key=item.handler.ordering_key(item.parsed),
        correlation_id=common.correlation_id,
        causation_id=common.causation_id,
        max_attempts=item.handler.retry.max_attempts,
        **(later if item.scheduled_at else {}),
    )


def _result(row: Directive, stored: Directive) -> Requested | KeyConflict:
    """Compare what was asked with what is stored under its key; the reason may be another one."""
    if stored.pk == row.pk:
        return Requested(stored, created=True)
    asked, known = ({**d.payload, "reason": None} for d in (row, stored))
    if (stored.name, known) == (row.name, asked):
        return Requested(stored, created=False)
    return KeyConflict(
        f"idempotency_key: {row.idempotency_key!r} belongs to the directive {stored.id} "
        f"({stored.name}, {stored.status}), which has another "
        f"{'payload' if stored.name == row.name else 'name'}"
    )


def _announce(created: Sequence[Directive], tenant: Tenant) -> None:
    if not created:
        return
    bus.record(
        [
            journal.fact(
                directive,
                "directive.requested",
                {
                    "reason": directive.reason,
                    "idempotency_key": directive.idempotency_key,
                    "scheduled_at": directive.scheduled_at.isoformat(),
                },
                tenant=tenant.slug,
            )
            for directive in created
        ]
    )
    now = timezone.now()
    queue.wake_at(tenant, {max(directive.scheduled_at, now) for directive in created})


def _plain(field: str, value: Mapping[str, Any]) -> dict[str, Any]:
    try:
        plain = json_object(field, value)
    except ValidationError as error:
        raise InvalidPayload(error.message) from None
    if finding := find_secret(field, plain):
        raise SecretRefused(finding)
    return plain


def _reason(value: str) -> str:
    text = _text("reason", value, REASON_LENGTH)
    if finding := find_secret("reason", text):
        raise SecretRefused(finding)
    return text


def _moment(field: str, value: object) -> datetime:
    try:
        return check_moment(field, value)
    except ValidationError as error:
        raise InvalidPayload(error.message) from None


def _text(field: str, value: object, length: int, *, required: bool = False) -> str:
    try:
        return check_text(field, value, length=length, required=required)
    except ValidationError as error:
        raise InvalidPayload(error.message) from None
