"""Request directives in the active tenant, in the caller's transaction: validate, insert, wake a worker."""

import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, Unpack

from django.db import transaction

from directives.authority import permissions
from directives.errors import Refused
from directives.models import Directive
from directives.queueing import adapter
from directives.requesting import insertion
from directives.requesting.insertion import Requested
from directives.requesting.no_collecting import no_collecting
from directives.requesting.validation import (
    BatchArguments,
    BatchOptions,
    DirectiveRequest,
    RequestLike,
    validate,
    validate_options,
)
from fleetprompt.telemetry import context, metrics, tracing
from fleetprompt.tenants.context import active_tenant
from fleetprompt.tenants.models import Tenant
from signals import bus
from signals.models import Signal
from signals.types import Actor, Personal, as_object, has_keyed_digest, keyed_digest

__all__ = ["DirectiveRequest", "Requested", "request", "request_batch", "request_each", "request_many"]

logger = logging.getLogger(__name__)

BATCH_REQUESTED = "directive.batch_requested"
"""The signal that a batch leaves, besides those of its directives."""
MAX_BATCH = 10_000
"""How many directives one batch may ask for."""
MIN_WITHOUT_COLLECTING = 500
"""The smallest number of requests for which Python's collector pauses; `no_collecting` has the figures."""
MAX_KNOWN_NAMED = 20
"""How many of the directives that had been requested before the batch's signal names."""


def request(
    name: str,
    payload: Mapping[str, Any],
    *,
    actor: Actor,
    reason: str = "",
    idempotency_key: str | None = None,
    scheduled_at: datetime | None = None,
    expires_at: datetime | None = None,
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
            default the handler's own key, which a double click shares and a later request does not.
        scheduled_at: not to run before this time (with a time zone); now by default.
        expires_at: when its effect is to end by itself, for a directive that can be undone.
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
    item = DirectiveRequest(name, payload, reason, idempotency_key, scheduled_at, expires_at)
    return request_many(
        [item],
        actor=actor,
        correlation_id=correlation_id,
        causation_id=causation_id,
        metadata=metadata,
    )[0]


def request_many(
    items: Iterable[RequestLike], *, actor: Actor, **options: Unpack[BatchArguments]
) -> list[Requested]:
    """Request many directives at once: all of them, in a handful of statements, or none.

    Args:
        items: `DirectiveRequest`s, or mappings or sequences of their fields.
        options: of `request`, for all items: `reason`, for those that have none of their own,
            `correlation_id`, `causation_id` and `metadata`. All items share one correlation id, except
            those that bring their own.

    Returns:
        one `Requested` per item, in order.

    Raises:
        Refused: what `request` raises, for the first item that is refused; nothing was stored.
    """
    results = _request(list(items), validate_options(actor, **options), whole=True)
    return [result for result in results if isinstance(result, Requested)]


def request_each(
    items: Iterable[RequestLike], *, actor: Actor, **options: Unpack[BatchArguments]
) -> list[Requested | Refused]:
    """Request the items that can be, and give back for each what was stored or why it was refused.

    Arguments are those of `request_many`.

    Raises:
        NoActiveTenant: called outside `in_tenant`.
        Refused: an argument that applies to all items is wrong.
    """
    return _request(list(items), validate_options(actor, **options), whole=False)


def request_batch(
    batch_id: str,
    name: str,
    payloads: Sequence[Mapping[str, Any]],
    *,
    actor: Actor,
    reason: str,
    scheduled_at: datetime | None = None,
    expires_at: datetime | None = None,
    causation_id: str | None = None,
) -> list[Refused] | None:
    """Request one directive per payload, all under one correlation id, once for each `batch_id`.

    Args:
        batch_id: the correlation id; asking twice with one id is one batch, as a double click is.
        payloads: at most `MAX_BATCH`.
        reason: why; the same for all.

    The other arguments are those of `request`.

    Returns:
        why single ones were refused (the others are requested); None when the batch was known and
        nothing was done.

    Raises:
        NoActiveTenant: called outside `in_tenant`.
        PermissionRefused: the actor may not request this directive.
        Refused: there are too many payloads, every one was refused for the reason given, or something
            else has that id.
    """
    permissions.check(actor, "request", name)
    if len(payloads) > MAX_BATCH:
        raise Refused(f"batch: expected at most {MAX_BATCH} directives; got {len(payloads)}")
    # Tells one batch from another: who asks for what, why and when.
    times = {"scheduled_at": scheduled_at, "expires_at": expires_at}
    given = {key: time.isoformat() for key, time in times.items() if time}
    asked = [actor.type, actor.id, name, reason, given, list(payloads)]
    # As text, since a payload that is refused later may hold anything.
    contents = json.dumps(asked, sort_keys=True, default=str)
    with transaction.atomic():
        # In this order: the same form, submitted at this moment, leaves directives and signal together.
        is_used = any(one.objects.filter(correlation_id=batch_id).exists() for one in (Directive, Signal))
        if known := find_batch(batch_id):
            _check_same(known, contents)
            return None
        if is_used:
            raise Refused(
                f"batch: the number {batch_id} is in use by other requests; submit the form again"
            )
        items = [
            DirectiveRequest(name, payload, scheduled_at=scheduled_at, expires_at=expires_at)
            for payload in payloads
        ]
        answers = request_each(
            items, actor=actor, reason=reason, correlation_id=batch_id, causation_id=causation_id
        )
        refused = [answer for answer in answers if isinstance(answer, Refused)]
        if len(refused) == len(answers):
            raise refused[0] if refused else Refused("batch: expected at least one directive")
        repeated = [
            str(answer.directive.pk)
            for answer in answers
            if isinstance(answer, Requested) and not answer.created
        ]
        signal, is_first = bus.emit(
            BATCH_REQUESTED,
            {
                "name": name,
                "reason": reason and Personal(reason),
                "scheduled_at": None,
                **given,
                "asked": len(answers),
                "created": len(answers) - len(refused) - len(repeated),
                "known": len(repeated),
                "known_directives": repeated[:MAX_KNOWN_NAMED],
                "refused": len(refused),
                "digest": keyed_digest(contents, purpose=BATCH_REQUESTED, tenant=active_tenant().slug),
            },
            dedupe_key=_batch_key(batch_id),
            actor=actor,
            source="directives",
            correlation_id=batch_id,
            causation_id=causation_id,
        )
        if not is_first:
            # The same form was submitted at the same moment, and the other one was first.
            transaction.set_rollback(True)
            _check_same(signal, contents)
            return None
    return refused


def find_batch(batch_id: str) -> Signal | None:
    """Return the signal that tells of a batch; None when there was no such batch."""
    return Signal.objects.filter(dedupe_key=_batch_key(batch_id)).first()


def _batch_key(batch_id: str) -> str:
    return f"{BATCH_REQUESTED}:{active_tenant().slug}:{batch_id}"


def _check_same(known: Signal, contents: str) -> None:
    digest, tenant = as_object(known.payload).get("digest"), active_tenant().slug
    if not has_keyed_digest(digest, contents, purpose=BATCH_REQUESTED, tenant=tenant):
        raise Refused("batch: this form was submitted before, with other contents; submit it again")


def _request(
    items: Sequence[RequestLike], options: BatchOptions, *, whole: bool
) -> list[Requested | Refused]:
    """Request what can be; with `whole`, all or nothing."""
    tenant = active_tenant()
    if tenant.status != Tenant.Status.ACTIVE:
        raise Refused(f"tenant: {tenant.slug} is {tenant.status} and takes no directives")
    fields = {"tenant": tenant.slug, "correlation": options.correlation_id}
    with (
        no_collecting() if len(items) >= MIN_WITHOUT_COLLECTING else nullcontext(),
        tracing.span("request", fields, kind="PRODUCER"),
    ):
        validated = [validate(item, options) for item in items]
        names = Counter(item.handler.name for item in validated if not isinstance(item, Refused))
        tracing.note(f"request {_summary(names)}", count=names.total())
        # The attempt continues this trace.
        options = replace(options, metadata=options.metadata | tracing.carrier())
        answers = insertion.insert(validated, options, tenant, whole=whole)
        created = [one.directive for one in answers if isinstance(one, Requested) and one.created]
        if created:
            _announce(created, tenant)
        return answers


def _announce(created: Sequence[Directive], tenant: Tenant) -> None:
    """On commit, notify clusters of what is due now, and count and log what was requested."""
    # By the database's clock alone: it is what decides when they are due.
    if any(directive.scheduled_at <= directive.created_at for directive in created):
        adapter.announce(tenant)
    fields = {
        "tenant": tenant.slug,
        "correlation": created[0].correlation_id,
        "trace": tracing.trace_id(),
    }
    if len(created) == 1:
        fields |= {"directive": str(created[0].id), "name": created[0].name}
    names = Counter(directive.name for directive in created)
    transaction.on_commit(partial(_committed, names, fields), robust=True)


def _committed(names: Counter[str], fields: Mapping[str, str]) -> None:
    for name, number in names.items():
        metrics.REQUESTED.add(name, amount=number)
    with context.bound(**fields):
        logger.info("requested %d: %s", names.total(), _summary(names))


def _summary(names: Counter[str]) -> str:
    return next(iter(names)) if len(names) == 1 else f"{len(names)} names"
