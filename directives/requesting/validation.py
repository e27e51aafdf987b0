"""Validate requests one by one, before anything is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, TypedDict, TypeVar
from uuid import uuid4

from django.utils import timezone

from directives import registry
from directives.authority import permissions
from directives.errors import InvalidPayload, PermissionRefused, Refused, SecretRefused
from directives.handlers import DirectivePayload
from directives.models import REASON_LENGTH, RUNNERS_METADATA, Directive
from directives.registry import AnyHandler
from fleetprompt.secret_scan import find_secret
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

ValueT = TypeVar("ValueT")


class DirectiveRequest(NamedTuple):
    """One directive to request in a batch; the fields are those of `requests.request`."""

    name: str
    payload: Mapping[str, Any]
    reason: str = ""
    idempotency_key: str | None = None
    scheduled_at: datetime | None = None
    expires_at: datetime | None = None
    correlation_id: str | None = None
    causation_id: str | None = None


RequestLike = DirectiveRequest | Mapping[str, Any] | Sequence[Any]
"""A `DirectiveRequest`, or a mapping or sequence of its fields."""


class BatchArguments(TypedDict, total=False):
    """What all items of a batch may share; see `requests.request`."""

    reason: str
    correlation_id: str | None
    causation_id: str | None
    metadata: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """The validated arguments that all items of a batch share."""

    actor: Actor
    reason: str
    correlation_id: str
    causation_id: str
    metadata: dict[str, Any]
    refusals: dict[str, PermissionRefused | None] = field(default_factory=dict)

    def check_permission(self, name: str) -> None:
        """Refuse a directive that the actor may not request, looking only once in a batch."""
        if name not in self.refusals:
            try:
                permissions.check(self.actor, "request", name)
                self.refusals[name] = None
            except PermissionRefused as refusal:
                self.refusals[name] = refusal
        if refused := self.refusals[name]:
            raise refused


@dataclass(frozen=True, slots=True)
class ValidatedRequest:
    """One item that may be inserted.

    Args:
        parsed: the payload as the handler's model.
        payload: the payload in its normalised JSON form.
        key: the caller's own key, if there is one.
        scheduled_at: not to run before this time; None for now.
        expires_at: when its effect is to end by itself, if it is to end.
        ordering_key: what orders it among others, if anything.
        links: its own correlation and causation ids, if it does not share those of its batch.
    """

    handler: AnyHandler
    parsed: DirectivePayload
    payload: dict[str, Any]
    reason: str
    key: str | None
    scheduled_at: datetime | None
    expires_at: datetime | None
    subject: Subject | None
    ordering_key: str
    links: Mapping[str, str]

    @property
    def columns(self) -> dict[str, Any]:
        """Its columns of a directive, besides the key and those that all items of a batch share."""
        return {
            "name": self.handler.name,
            "payload": self.payload,
            "reason": self.reason,
            "subject_type": self.subject.type if self.subject else "",
            "subject_id": self.subject.id if self.subject else "",
            "ordering_key": self.ordering_key,
            "max_attempts": self.handler.retry.max_attempts,
            "scheduled_at": self.scheduled_at,
            "expires_at": self.expires_at,
            **self.links,
        }

    def numbered_key(self, tenant: str, number: int) -> str:
        """Return the caller's own key, or the handler's with a revision, or another number without one."""
        if self.key:
            return self.key
        key = self.handler.idempotency_key(self.parsed, tenant=tenant, revision=number)
        return check_identifier("idempotency_key", key, length=KEY_LENGTH, required=True)

    def has_fixed_key(self, tenant: str) -> bool:
        """Return whether the key is the caller's or the client's: the same, whatever has become of it."""
        return self.numbered_key(tenant, 0) == self.numbered_key(tenant, 1)


def validate_options(
    actor: Actor,
    reason: str = "",
    correlation_id: str | None = None,
    causation_id: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> BatchOptions:
    """Return the arguments that all items share, validated; they are those of `requests.request`.

    Raises:
        Refused: naming the argument that is not as expected.
    """
    if not isinstance(actor, Actor):
        raise InvalidPayload(f"actor: expected an Actor; got {type(actor).__name__}")
    return BatchOptions(
        actor=actor,
        reason=check_reason(reason),
        correlation_id=check_identifier("correlation_id", correlation_id or str(uuid4()), length=ID_LENGTH),
        causation_id=check_identifier("causation_id", causation_id or "", length=ID_LENGTH),
        metadata=_metadata(metadata or {}),
    )


def validate(item: RequestLike, options: BatchOptions) -> ValidatedRequest | Refused:
    """Return the item as it may be inserted, or why it may not."""
    try:
        return _validate(_as_request(item), options)
    except Refused as refusal:
        return refusal


def _validate(item: DirectiveRequest, options: BatchOptions) -> ValidatedRequest:
    handler = registry.get(item.name)
    parsed = handler.parse(_plain("payload", item.payload))
    payload = handler.dump(parsed)
    options.check_permission(handler.name)
    at, subject = item.scheduled_at, handler.subject(parsed)
    is_later = at is not None and check_moment("scheduled_at", at) > timezone.now()
    return ValidatedRequest(
        handler=handler,
        parsed=parsed,
        payload=payload,
        reason=(item.reason and check_reason(item.reason)) or options.reason or payload.get("reason", ""),
        key=None if item.idempotency_key is None else _key(item.idempotency_key),
        scheduled_at=at if is_later else None,
        expires_at=_expiry(handler, item, subject),
        subject=subject,
        ordering_key=handler.ordering_key(parsed),
        links={
            name: check_identifier(name, value, length=ID_LENGTH)
            for name in ("correlation_id", "causation_id")
            if (value := getattr(item, name))
        },
    )


def _expiry(handler: AnyHandler, item: DirectiveRequest, subject: Subject | None) -> datetime | None:
    if item.expires_at is None:
        return None
    if not (handler.can_expire and subject):
        raise InvalidPayload(f"expires_at: {handler.name} has no effect that could end by itself")
    begins = max(timezone.now(), item.scheduled_at or timezone.now())
    is_over = check_moment("expires_at", item.expires_at) <= begins
    # A request that is repeated because its answer was lost finds its directive, however late it is.
    if is_over and not Directive.objects.filter(idempotency_key=item.idempotency_key).exists():
        raise InvalidPayload(
            f"expires_at: expected a time after {begins.isoformat(timespec='seconds')}; "
            f"got {item.expires_at.isoformat()}"
        )
    return item.expires_at


def check_reason(value: str, *, required: bool = False) -> str:
    """Return `value` if it can be a reason.

    Raises:
        Refused: it is too long, not storable, or looks like a secret; or empty when it is required.
    """
    return _without_secret("reason", check_text("reason", value, length=REASON_LENGTH, required=required))


def _as_request(item: RequestLike) -> DirectiveRequest:
    if isinstance(item, DirectiveRequest):
        return item
    try:
        return DirectiveRequest(**item) if isinstance(item, Mapping) else DirectiveRequest(*item)
    except TypeError:
        fields = ", ".join(DirectiveRequest._fields)
        raise InvalidPayload(f"request: expected the fields {fields}, name and payload at least") from None


def _key(value: str) -> str:
    key = check_identifier("idempotency_key", value, length=KEY_LENGTH, required=True)
    return _without_secret("idempotency_key", key)


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
    return _without_secret(field, plain)


def _without_secret(field: str, value: ValueT) -> ValueT:
    if finding := find_secret(field, value):
        raise SecretRefused(finding)
    return value
