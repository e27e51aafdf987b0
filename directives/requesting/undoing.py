"""Requests that undo directives: the end of the restriction that one began, or its inverse."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from directives import registry
from directives.errors import InvalidPayload, Refused
from directives.lifecycle import queries
from directives.models import Directive, Restriction
from directives.requesting.validation import DirectiveRequest
from directives.restricting.values import END, RESCHEDULE
from fleetprompt.postgres.primary_keys import parse_uuid
from signals.models import Signal
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


class TextErased(Refused):
    """What would undo a directive takes a text that was erased."""


class Left(NamedTuple):
    """How a directive left its subject.

    Args:
        subject: its type and its id.
        revision: None where it has none.
        at: when.
    """

    subject: tuple[str, str]
    revision: int | None
    at: datetime


class Since(NamedTuple):
    """What became of a subject since a directive left it.

    Args:
        by: the directive that changed it last; None when none on record did.
        is_gone: whether it exists no longer, where its revision could tell.
    """

    by: Directive | None
    is_gone: bool


class _Effect(NamedTuple):
    """What the last attempt of a directive that changed something did, and when."""

    result: Mapping[str, Any]
    attempt: int
    at: datetime


def undo_requests(directives: Sequence[Directive], tenant: str) -> dict[UUID, DirectiveRequest | Refused]:
    """Return, by directive, the request that puts back what it did, or why there is none.

    A directive that began a restriction is undone by its end, whatever happened to the subject since, as
    long as it is active. One that ended restrictions is undone by what had set them, for as long as the
    longest of them would have lasted, and any other by its inverse: these expect the subject at the
    revision at which the directive left it. What it did before a rerun that changed nothing, failed or was
    canceled is still there to be undone.

    Args:
        tenant: the active tenant's slug. The keys are made of it, so that undoing twice is once, unless
            the first time failed or was canceled.

    Returns:
        requests that name the directive as their cause.
    """
    effects = _effects(directives)
    results = [effect.result for effect in effects.values()]
    begun = _restrictions(map(_own, results))
    ended = _restrictions(pk for result in results for pk in _ended(result))
    # What takes their texts is stored before they are erased, or finds them erased.
    with_texts = {one.pk for one in directives if as_object(one.personal).get("payload")}
    sources = with_texts.union(one.directive_id for one in ended.values())
    gone = with_texts - (queries.keep_texts(sources) if sources else set())
    causes = Directive.objects.in_bulk([one.directive_id for one in ended.values()])
    endings = Directive.objects.in_bulk([one.ended_by for one in begun.values() if one.ended_by])
    changed = changed_since(
        {
            one.pk: _left(one, effect)
            for one in directives
            if (effect := effects.get(one.pk)) and str(_own(effect.result)) not in begun
        }
    )
    keys = _free_keys({pk: f"undo:{tenant}:{pk}:{effect.attempt}" for pk, effect in effects.items()})
    found: dict[UUID, DirectiveRequest | Refused] = {}
    for one in directives:
        until = None
        try:
            result = _result(one, effects)
            lifted = [ended[pk] for pk in _ended(result) if pk in ended]
            if restriction := begun.get(str(_own(result))):
                name, payload = _end_of(one, restriction, endings)
            elif one.pk in gone:
                raise TextErased(f"id: a text of {one} was erased in this moment; ask again")
            else:
                expected = _expected(one, result, changed)
                until = _longest(one, lifted)
                name, payload = _inverse_of(
                    one, result, causes.get(lifted[-1].directive_id) if lifted else None
                )
                payload |= expected
            found[one.pk] = DirectiveRequest(
                name, payload, idempotency_key=keys[one.pk], expires_at=until, causation_id=str(one.pk)
            )
        except Refused as refusal:
            found[one.pk] = refusal
    return found


def changed_since(left: Mapping[UUID, Left]) -> dict[UUID, Since]:
    """Return what became of the subjects that are not as they were left.

    A subject without a revision has changed when a later directive changed it.
    """
    revisions = _revisions({one.subject for one in left.values()})
    suspect = {
        pk: one
        for pk, one in left.items()
        if one.revision is None or revisions.get(one.subject) != one.revision
    }
    latest = _latest_changes(suspect.values())
    found = {}
    for pk, one in suspect.items():
        by = latest.get(one.subject)
        if by and by.completed_at and by.completed_at <= one.at:
            by = None
        if by or one.revision is not None:
            found[pk] = Since(by, one.revision is not None and one.subject not in revisions)
    return found


def _effects(directives: Sequence[Directive]) -> dict[UUID, _Effect]:
    """Return what directives did, without those that did nothing or whose rerun has not ended."""
    found, rerun = {}, []
    for one in directives:
        result = as_object(one.result)
        if one.status == Directive.Status.SUCCEEDED and one.completed_at and _has_effect(result):
            found[one.pk] = _Effect(result, one.attempt, one.completed_at)
        elif one.status in Directive.TERMINAL and one.earlier_successes:
            rerun.append(str(one.pk))
    if not rerun:
        return found
    told = Signal.objects.filter(name="directive.succeeded", causation_id__in=rerun)
    for signal in told.order_by("recorded_at", "id"):
        result, attempt = as_object(signal.payload.get("result")), signal.payload.get("attempt")
        if type(attempt) is int and _has_effect(result):
            found[UUID(signal.causation_id)] = _Effect(result, attempt, signal.recorded_at)
    return found


def _has_effect(result: Mapping[str, Any]) -> bool:
    return result.get("changed") is not False or any(map(result.get, _EFFECTS))


def _result(directive: Directive, effects: Mapping[UUID, _Effect]) -> Mapping[str, Any]:
    if effect := effects.get(directive.pk):
        return effect.result
    if directive.status == Directive.Status.SUCCEEDED:
        raise Refused(f"id: {directive} changed nothing that could be undone")
    raise Refused(f"id: {directive} is {directive.status}; only what has succeeded can be undone")


def _left(directive: Directive, effect: _Effect) -> Left:
    revision = effect.result.get("revision")
    known = revision if type(revision) is int else None
    return Left((directive.subject_type, directive.subject_id), known, effect.at)


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


def _revisions(subjects: Collection[tuple[str, str]]) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for kind in {kind for kind, _ in subjects if kind}:
        values = registry.subject_values(kind, [pk for of, pk in subjects if of == kind], "revision")
        found |= {(kind, pk): revision for pk, revision in values.items()}
    return found


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
        # `ERASED` may be no value of the field's type.
        _check_has_text(directive.payload, directive)
        raise
    _check_has_text(payload, directive)
    return handler.inverse, payload


def _without_reason(directive: Directive) -> dict[str, Any]:
    """Return a payload without what was about its own request."""
    left_out = ("reason", "expected_revision")
    return {key: value for key, value in directive.payload.items() if key not in left_out}


def _check_has_text(payload: Mapping[str, Any], source: Directive) -> None:
    if source.personal is None and ERASED in payload.values():
        raise TextErased(f"id: it takes a text of {source} that was erased")


def _expected(
    directive: Directive, result: Mapping[str, Any], changed: Mapping[UUID, Since]
) -> dict[str, int]:
    if since := changed.get(directive.pk):
        who = f" by {since.by.actor} ({since.by.name})" if since.by else ""
        what = "is gone" if since.is_gone else f"was changed since{who}"
        raise ChangedSince(f"id: {directive.subject_type}:{directive.subject_id} {what}", since.by)
    revision = result.get("revision")
    return {"expected_revision": revision} if type(revision) is int else {}


def _latest_changes(left: Collection[Left]) -> dict[tuple[str, str], Directive]:
    """Return, by subject, the directive that changed it last, if that may be later than it was left."""
    if not left:
        return {}
    types, ids = zip(*(one.subject for one in left), strict=True)
    later = Directive.objects.filter(
        subject_type__in={*types},
        subject_id__in={*ids},
        status=Directive.Status.SUCCEEDED,
        completed_at__gt=min(one.at for one in left),
    )
    # What changed restrictions alone left the status as it was.
    changed = ~Q(result__changed=False) | Q(result__has_any_keys=["restriction", "ended", "rescheduled"])
    latest = later.filter(changed).order_by("subject_type", "subject_id", "-completed_at")
    return {
        (one.subject_type, one.subject_id): one for one in latest.distinct("subject_type", "subject_id")
    }
