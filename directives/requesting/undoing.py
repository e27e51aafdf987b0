"""Requests that undo directives: the end of the restriction that one began, or its inverse."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.utils import timezone

from directives import registry
from directives.errors import InvalidPayload, Refused
from directives.models import Directive, Restriction
from directives.requesting.validation import DirectiveRequest
from directives.restricting.values import END, RESCHEDULE
from fleetprompt.postgres.primary_keys import parse_uuid
from signals.types import ERASED, as_object

_EFFECTS = ("restriction", "kept", "ended", "rescheduled")
"""The keys of a result that tell of restrictions."""


class ChangedSince(Refused):
    """What a directive did was changed since.

    Args:
        by: the directive that changed it; None when none on record did.
    """

    def __init__(self, message: str, by: Directive | None) -> None:
        super().__init__(message)
        self.by = by


def undo_requests(directives: Sequence[Directive], tenant: str) -> dict[UUID, DirectiveRequest | Refused]:
    """Return, by directive, the request that puts back what it did, or why there is none.

    A directive that began a restriction is undone by its end, whatever happened to the subject since, as
    long as it is active. One that ended restrictions is undone by what had set them, for as long as the
    longest of them would have lasted, and any other by its inverse: these expect the subject at the
    revision at which the directive left it.

    Args:
        tenant: the active tenant's slug. The keys are made of it, so that undoing twice is once, unless
            the first time failed or was canceled.
    """
    results = {one.pk: as_object(one.result) for one in directives}
    begun = _restrictions(map(_own, results.values()))
    ended = _restrictions(pk for result in results.values() for pk in _ended(result))
    causes = Directive.objects.in_bulk([one.directive_id for one in ended.values()])
    endings = Directive.objects.in_bulk([one.ended_by for one in begun.values() if one.ended_by])
    revisions = _revisions(directives)
    keys = _free_keys({one.pk: undo_key(one, tenant) for one in directives})
    found: dict[UUID, DirectiveRequest | Refused] = {}
    for one in directives:
        result = results[one.pk]
        restriction = begun.get(str(_own(result)))
        lifted = [ended[pk] for pk in _ended(result) if pk in ended]
        until = None
        try:
            _check_has_effect(one, result)
            if restriction:
                name, payload = _end_of(one, restriction, endings)
            else:
                expected = _expected(one, result, revisions.get((one.subject_type, one.subject_id)))
                until = _longest(one, lifted)
                name, payload = _inverse_of(
                    one, result, causes.get(lifted[-1].directive_id) if lifted else None
                )
                payload |= expected
            found[one.pk] = DirectiveRequest(name, payload, idempotency_key=keys[one.pk], expires_at=until)
        except Refused as refusal:
            found[one.pk] = refusal
    return found


def undo_key(directive: Directive, tenant: str) -> str:
    """Return the key of the request that undoes what a directive did in its last attempt."""
    return f"undo:{tenant}:{directive.pk}:{directive.attempt}"


def _free_keys(keys: Mapping[UUID, str]) -> dict[UUID, str]:
    """Return the keys, numbered where the directive under a key failed or was canceled."""
    given_up = [Directive.Status.FAILED, Directive.Status.CANCELED]
    free, number = dict(keys), 1
    while used := set(
        Directive.objects.filter(idempotency_key__in=free.values(), status__in=given_up).values_list(
            "idempotency_key", flat=True
        )
    ):
        free = {pk: f"{keys[pk]}:{number}" if key in used else key for pk, key in free.items()}
        number += 1
    return free


def _own(result: Mapping[str, Any]) -> Any:
    """Return the id of the restriction that a directive began, in this attempt or in an earlier one."""
    return result.get("restriction") or result.get("kept")


def _ended(result: Mapping[str, Any]) -> list[str]:
    """Return the ids of the restrictions that a directive ended, oldest first."""
    ended = result.get("ended")
    return [str(pk) for pk in ended] if isinstance(ended, list) else []


def _longest(directive: Directive, ended: Sequence[Restriction]) -> datetime | None:
    """Return when the last of the restrictions that a directive ended would have ended by itself.

    Raises:
        Refused: that time has come, and it is not the end by itself that is undone.
    """
    untils = [one.until for one in ended]
    if None in untils or not ended:
        return None
    last = max(until for until in untils if until)
    if last > timezone.now():
        return last
    if directive.payload.get("until"):
        return None
    raise Refused(f"id: what {directive} ended would have ended by itself on {last:%Y-%m-%d at %H:%M} UTC")


def _restrictions(ids: Iterable[object]) -> dict[str, Restriction]:
    known = [pk for value in ids if isinstance(value, str) and (pk := parse_uuid(value))]
    return {str(pk): one for pk, one in Restriction.objects.in_bulk(known).items()}


def _revisions(directives: Sequence[Directive]) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for kind in {one.subject_type for one in directives if one.subject_type}:
        ids = [one.subject_id for one in directives if one.subject_type == kind]
        values = registry.subject_values(kind, ids, "revision")
        found |= {(kind, pk): revision for pk, revision in values.items()}
    return found


def _check_has_effect(directive: Directive, result: Mapping[str, Any]) -> None:
    if directive.status != Directive.Status.SUCCEEDED:
        raise Refused(f"id: {directive} is {directive.status}; only what has succeeded can be undone")
    if result.get("changed") is False and not any(map(result.get, _EFFECTS)):
        raise Refused(f"id: {directive} changed nothing that could be undone")


def _end_of(
    directive: Directive, restriction: Restriction, endings: Mapping[UUID, Directive]
) -> tuple[str, dict[str, Any]]:
    if restriction.ended_at:
        ending = endings.get(restriction.ended_by) if restriction.ended_by else None
        who = f", by {ending.actor} ({ending.name})" if ending else ""
        raise ChangedSince(
            f"id: what {directive} began has ended already, "
            f"on {restriction.ended_at:%Y-%m-%d at %H:%M} UTC{who}",
            ending,
        )
    subject = {"type": restriction.subject_type, "id": restriction.subject_id}
    return END, {"subject": subject, "restriction_id": str(restriction.pk)}


def _inverse_of(
    directive: Directive, result: Mapping[str, Any], cause: Directive | None
) -> tuple[str, dict[str, Any]]:
    if directive.name == RESCHEDULE:
        return RESCHEDULE, {**_without_reason(directive), "until": result.get("until_before")}
    if cause:
        payload = _without_reason(cause)
        _check_has_text(payload, cause)
        return cause.name, payload
    handler = registry.find(directive.name)
    if not (handler and handler.inverse and directive.subject_id):
        raise Refused(f"id: there is no directive that undoes {directive}")
    try:
        payload = handler.inverse_payload(handler.parse(directive.payload), result)
    except InvalidPayload:
        # What stands for an erased value may be none of its type.
        payload = dict(directive.payload)
        _check_has_text(payload, directive)
        raise
    _check_has_text(payload, directive)
    return handler.inverse, payload


def _without_reason(directive: Directive) -> dict[str, Any]:
    """Return a payload without what was about its own request."""
    left_out = ("reason", "expected_revision")
    return {key: value for key, value in directive.payload.items() if key not in left_out}


def _check_has_text(payload: Mapping[str, Any], source: Directive) -> None:
    if source.personal is None and ERASED in payload.values():
        raise Refused(f"id: it takes a text of {source} that was erased")


def _expected(directive: Directive, result: Mapping[str, Any], revision: int | None) -> dict[str, int]:
    left_at = result.get("revision")
    if type(left_at) is int and revision == left_at:
        return {"expected_revision": left_at}
    later = _latest_change(directive)
    if type(left_at) is not int and later is None:
        # The subject has no revision, and no other directive has changed it.
        return {}
    who = f" by {later.actor} ({later.name})" if later else ""
    raise ChangedSince(f"id: {directive.subject_type}:{directive.subject_id} was changed since{who}", later)


def _latest_change(directive: Directive) -> Directive | None:
    later = Directive.objects.filter(
        subject_type=directive.subject_type,
        subject_id=directive.subject_id,
        status=Directive.Status.SUCCEEDED,
        completed_at__gt=directive.completed_at,
    )
    return later.exclude(result__changed=False).order_by("-completed_at").first()
