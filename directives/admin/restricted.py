"""Restrictions on a subject's page, and the ways to end them or to move their ends."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Model
from django.urls import reverse
from django.utils.http import urlencode

from directives import registry, restrictions
from directives.authority import permissions
from directives.display.labels import Look
from directives.lifting import RestrictionHandler
from directives.models import Directive
from directives.restricting.reading import active_restrictions
from directives.restricting.values import Active, RestrictedColumn
from fleetprompt.web import coming_back
from signals.types import Actor

Looks = Mapping[str, Look]
"""How the values of a column are shown, and kinds of restrictions whose column holds no word."""


class Restricted(NamedTuple):
    """An active restriction, in words.

    Args:
        directive: what set it; None when it is gone.
        buttons: the ways to what the user may do with it.
    """

    look: Look
    active: Active
    directive: Directive | None
    buttons: Sequence[dict[str, str]]


class Outlook(NamedTuple):
    """What restrictions make of a column, and when that changes by itself.

    Args:
        until: None when it does not.
        actor: whose restriction ends last.
        then: what the column holds then, as a word in a sentence; empty without one.
    """

    look: Look
    until: datetime | None = None
    actor: Actor | None = None
    then: str = ""


def context(user: Any, record: Any, looks: Looks, back: str) -> dict[str, Any]:
    """Return what the page of a subject shows of its restrictions; nothing where there can be none."""
    model = type(record)
    if not hasattr(model, "RESTRICTED_COLUMNS"):
        return {}
    [active] = active_restrictions(record.SUBJECT_TYPE, [str(record.pk)]).values()
    set_by = Directive.objects.in_bulk([one.directive_id for one in active])
    return {
        "outlooks": [
            found for column in restrictions.columns(model) if (found := _outlook(column, active, looks))
        ],
        "restrictions": [
            Restricted(
                look_of(model, one.kind, looks),
                one,
                set_by.get(one.directive_id),
                _buttons(user, one.id, one.name, back),
            )
            for one in active
        ],
    }


def look_of(model: type[Model], kind: str, looks: Looks) -> Look:
    """Return how a kind of restriction is shown: as the status that follows from it, if one does."""
    return _look(restrictions.column(model, kind), kind, looks)


def _look(column: RestrictedColumn, kind: str, looks: Looks) -> Look:
    return looks.get(str(column.kinds[kind])) or looks.get(kind) or Look(kind.capitalize(), "gavel", "warn")


def _outlook(column: RestrictedColumn, active: Sequence[Active], looks: Looks) -> Outlook | None:
    found = [one for one in active if one.kind in column.kinds]
    if not found:
        return None
    value = restrictions.value_of(column, {one.kind for one in found})
    strictest = [one for one in found if column.kinds[one.kind] == value]
    look = _look(column, strictest[0].kind, looks)
    until = _last([one.until for one in strictest])
    if until is None:
        return Outlook(look)
    left = {one.kind for one in found if one.until is None or one.until > until}
    then = restrictions.value_of(column, left)
    word = looks[then].word.lower() if isinstance(then, str) and then in looks else ""
    return Outlook(look, until, next(one.actor for one in strictest if one.until == until), word)


def _last(times: Collection[datetime | None]) -> datetime | None:
    """Return the last of the times; None when one has none, which never comes."""
    return None if None in times else max(time for time in times if time)


def _buttons(user: Any, pk: UUID, set_by: str, back: str) -> list[dict[str, str]]:
    """Return the ways to the directives about a restriction that the user may request."""
    if not permissions.allows(user, "request", set_by):
        return []
    return [
        {"label": handler.label, "url": coming_back.with_back(_url(handler.name, pk), back)}
        for handler in registry.handlers()
        if isinstance(handler, RestrictionHandler) and permissions.allows(user, "request", handler.name)
    ]


def _url(name: str, pk: UUID) -> str:
    url = reverse("admin:directives_directive_request_type", args=[name])
    return f"{url}?{urlencode({'restriction': str(pk)})}"
