"""Checks what is requested, one item at a time, without touching directives or signals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import uuid4

from django.utils import timezone

from directives import registry
from directives.authority import permissions
from directives.errors import InvalidPayload, PermissionRefused, Refused, SecretRefused
from directives.models import REASON_LENGTH, RUNNERS_METADATA
from directives.registry import AnyHandler
from directives.requesting.secret_scan import find_secret
from signals.types import (
    ID_LENGTH,
    KEY_LENGTH,
    Actor,
    Subject,
    check_identifier,
    check_moment,
    check_text,
    json_object,
)


class DirectiveRequest(NamedTuple):
    """One directive to request in a batch; the fields are those of `request`."""

    name: str
    payload: Mapping[str, Any]
    reason: str = ""
    idempotency_key: str | None = None
    scheduled_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Common:
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
                permissions.check(self.actor, "request", handler.name)
                self.refusals[handler.name] = None
            except PermissionRefused as refusal:
                self.refusals[handler.name] = refusal
        if refused := self.refusals[handler.name]:
            raise refused


@dataclass(frozen=True, slots=True)
class Checked:
    """One item that may be stored.

    Args:
        parsed: the payload as the handler's model.
        payload: the payload in its normalised JSON form.
        key: the caller's own key, if there is one.
        scheduled_at: when it is wanted, unless now.
        subject: what it is about.
        line: what orders it among others, if anything.
    """

    handler: AnyHandler
    parsed: Any
    payload: dict[str, Any]
    reason: str
    key: str | None
    scheduled_at: datetime | None
    subject: Subject | None
    line: str


def check_item(
    item: DirectiveRequest | Mapping[str, Any] | Sequence[Any], common: Common
) -> Checked | Refused:
    """Return the item as it may be stored, or why it may not."""
    try:
        return _check(_as_request(item), common)
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


def _check(item: DirectiveRequest, common: Common) -> Checked:
    handler = registry.get(item.name)
    raw = _plain("payload", item.payload)
    parsed = handler.parse(raw)
    payload = handler.dump(parsed)
    common.check_permission(handler)
    scheduled_at = None if item.scheduled_at is None else check_moment("scheduled_at", item.scheduled_at)
    key = item.idempotency_key
    return Checked(
        handler=handler,
        parsed=parsed,
        payload=payload,
        reason=(item.reason and check_reason(item.reason)) or common.reason or payload.get("reason", ""),
        key=None if key is None else _key(key),
        scheduled_at=scheduled_at if scheduled_at and scheduled_at > timezone.now() else None,
        subject=handler.subject(parsed),
        line=handler.ordering_key(parsed),
    )


def check_common(
    actor: Actor,
    reason: str,
    correlation_id: str | None,
    causation_id: str | None,
    metadata: Mapping[str, Any] | None,
) -> Common:
    """Return the arguments of a batch, checked; they are those of `requests.request`.

    Raises:
        Refused: naming the argument that is not as expected.
    """
    if not isinstance(actor, Actor):
        raise InvalidPayload(f"actor: expected an Actor; got {type(actor).__name__}")
    return Common(
        actor=actor,
        reason=check_reason(reason),
        correlation_id=check_identifier("correlation_id", correlation_id or str(uuid4()), length=ID_LENGTH),
        causation_id=check_identifier("causation_id", causation_id or "", length=ID_LENGTH),
        metadata=_metadata(metadata or {}),
    )


def check_reason(value: str, *, required: bool = False) -> str:
    """Return `value` if it can be a reason.

    Raises:
        Refused: it is too long, not storable, or looks like a secret; or empty when it is required.
    """
    text = check_text("reason", value, length=REASON_LENGTH, required=required)
    if finding := find_secret("reason", text):
        raise SecretRefused(finding)
    return text


def _key(value: str) -> str:
    key = check_identifier("idempotency_key", value, length=KEY_LENGTH, required=True)
    if finding := find_secret("idempotency_key", key):
        raise SecretRefused(finding)
    return key


def _metadata(value: Mapping[str, Any]) -> dict[str, Any]:
    metadata = _plain("metadata", value)
    if taken := RUNNERS_METADATA.intersection(metadata):
        raise InvalidPayload(
            f"metadata.{min(taken)}: the runner uses this key itself; expected keys other than "
            f"{', '.join(sorted(RUNNERS_METADATA))}"
        )
    return metadata


def _plain(field: str, value: Mapping[str, Any]) -> dict[str, Any]:
    try:
        plain = json_object(field, value)
    except Refused as refusal:
        raise InvalidPayload(str(refusal)) from None
    if finding := find_secret(field, plain):
        raise SecretRefused(finding)
    return plain
