"""Undoing in the admin: what is in its way, in words, and the results of single ones and of a batch."""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.utils import timezone
from django.utils.formats import date_format

from directives import operations
from directives.admin.results import LEFT, Result
from directives.authority import permissions
from directives.display import labels
from directives.errors import PermissionRefused, Refused
from directives.models import Directive
from directives.requesting import undoing
from directives.requests import Requested
from fleetprompt.tenants.context import active_tenant
from signals.types import Actor


def problems(user: Any, directives: Sequence[Directive]) -> dict[UUID, str]:
    """Return why a user cannot undo directives, for those that cannot be undone."""
    found = {}
    for one, asked in zip(
        directives, undoing.undo_requests(directives, active_tenant().slug).values(), strict=True
    ):
        if isinstance(asked, Refused):
            found[one.pk] = _in_words(asked, one)
        elif not permissions.allows(user, "request", asked.name):
            found[one.pk] = f"You may not request “{labels.label(asked.name)}”, which undoes it."
    return found


def newest_request(directives: Collection[Directive]) -> str:
    """Return when the newest of the directives was requested, for the form that undoes them."""
    return max(one.requested_at for one in directives).isoformat()


def rerun_since(ids: Sequence[UUID], seen: str) -> list[Directive]:
    """Return those of the directives that were rerun after a page had shown them.

    Args:
        seen: what `newest_request` returned for that page; nothing where no page showed them.
    """
    time = parse_time(seen)
    return list(Directive.objects.filter(pk__in=ids, requested_at__gt=time)) if time else []


def parse_time(text: str) -> datetime | None:
    """Return the time that a text says, with its zone; None when it says none."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if timezone.is_aware(time) else None


def undo(pk: UUID, *, actor: Actor, reason: str) -> Result:
    """Undo one directive, and say what came of it."""
    try:
        return _asked_for(pk, operations.undo(pk, actor=actor, reason=reason), actor)
    except PermissionRefused as refusal:
        return Result(pk, "Not allowed", "bad", _in_words(refusal))
    except Refused as refusal:
        return _left(refusal, pk, Directive.objects.filter(pk=pk).first())


def undo_batch(
    correlation_id: str, ids: Collection[UUID], *, actor: Actor, reason: str
) -> Iterator[Result]:
    """Undo a batch, and say of each of its directives, which have these `ids`, what came of it."""
    try:
        undone = operations.undo_batch(correlation_id, actor=actor, reason=reason)
    except Refused as refusal:
        yield from (_left(refusal, pk) for pk in ids)
        return
    directives = Directive.objects.in_bulk(list(undone.refused))
    yield from (_left(why, pk, directives.get(pk)) for pk, why in undone.refused.items())
    yield from (_asked_for(pk, requested, actor) for pk, requested in undone.requested.items())


def undone_since(ids: Collection[UUID], actor: Actor, since: datetime) -> list[Result]:
    """Return a result for each of the directives that the actor has asked to undo since a time."""
    wanted = {str(pk): pk for pk in ids}
    asked = Directive.objects.filter(
        idempotency_key__startswith=f"undo:{active_tenant().slug}:",
        actor_type=actor.type,
        actor_id=actor.id,
        created_at__gte=since,
    )
    # undo, the tenant, what is undone, and numbers.
    keys = [(key.split(":")[2], pk) for key, pk in asked.values_list("idempotency_key", "pk")]
    return [_open(wanted[undone], pk) for undone, pk in keys if undone in wanted]


def _asked_for(pk: UUID, requested: Requested, actor: Actor) -> Result:
    by = requested.directive.actor
    is_other = not requested.created and (by.type, by.id) != (actor.type, actor.id)
    return _open(pk, requested.directive.pk, f"{by} asked for it before." if is_other else "")


def _open(pk: UUID, undoing_id: UUID, by: str = "") -> Result:
    return Result(pk, LEFT, "info", "It is undone as soon as a worker is free.", by, undoing_id)


def _left(refusal: Refused, pk: UUID, directive: Directive | None = None) -> Result:
    return Result(pk, "Not undone", "warn", _in_words(refusal, directive))


def _in_words(refusal: Refused, directive: Directive | None = None) -> str:
    """Return a refusal as a sentence, with the labels of directives instead of their names and ids."""
    if isinstance(refusal, undoing.ChangedSince) and (by := refusal.by):
        when = date_format(timezone.localtime(by.completed_at), "j M, H:i")
        why = f": “{by.reason}”" if by.reason else ""
        return f"Changed since by {by.actor}, {when}: “{labels.label(by.name)}”{why}"
    text = " ".join(refusal.messages).partition(": ")[2] or str(refusal)
    if directive:
        text = text.replace(str(directive), f"“{labels.label(directive.name)}”")
    return f"{text[:1].upper()}{text[1:]}."
