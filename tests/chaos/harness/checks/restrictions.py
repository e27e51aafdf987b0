"""Statuses follow from restrictions; one success began each, and at most one ended it that may."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from directives.models import Directive, Restriction
from tests.chaos.harness.checks.effects import successes
from tests.chaos.harness.checks.forum import said
from tests.chaos.harness.reading import Town, Violation

BEGINS = {
    "forum.thread.lock": "locked",
    "forum.thread.archive": "archived",
    "forum.thread.hide": "hidden",
    "forum.post.hide": "hidden",
    "forum.post.delete": "deleted",
}
LIFTS = {
    "forum.thread.unlock": "locked",
    "forum.thread.unarchive": "archived",
    "forum.thread.unhide": "hidden",
    "forum.post.unhide": "hidden",
    "forum.post.restore": "deleted",
}
END = "restriction.end"
STATUSES = {
    "forum.post": {None: "published", "hidden": "hidden", "deleted": "deleted"},
    "forum.thread": {None: "open", "locked": "locked", "archived": "archived"},
}
"""From weak to strict, by the kind of restriction that each one needs."""
OVERDUE = timedelta(seconds=5)
TIMER = ("system", "timer")


class Success(NamedTuple):
    """One success of a directive, and what it returned."""

    pk: str
    directive: Directive
    result: dict[str, Any]


def check(town: Town) -> Iterator[Violation]:
    """Compare records with their restrictions, and these with the successes that began and ended them."""
    yield from _statuses(town)
    won = [
        Success(pk, directive, told.payload["result"])
        for pk, directive in town.directives.items()
        for told in successes(town, pk)
    ]
    begun, ended = defaultdict(list), defaultdict(list)
    for success in won:
        if pk := success.result.get("restriction"):
            begun[pk].append(success)
        if success.directive.name in {*BEGINS, *LIFTS, END}:
            for pk in success.result.get("ended", ()):
                ended[pk].append(success)
    for pk in (begun.keys() | ended.keys()) - town.restrictions.keys():
        about = [*begun[pk], *ended[pk]][0].pk
        yield town.violation(about, f"the restriction {pk}", "none")
    for pk, restriction in town.restrictions.items():
        yield from _beginning(town, pk, restriction, begun[pk])
        yield from _end(town, pk, restriction, ended[pk])


def how_it_ended(town: Town, restriction: Restriction) -> str:
    """Return in a word what ended a restriction, if anything did."""
    if not restriction.ended_by:
        return "active"
    by = town.directives[str(restriction.ended_by)]
    if by.idempotency_key.startswith("undo:"):
        return "undone"
    if _actor(by) == TIMER:
        return "expired"
    return {END: "ended by their id"}.get(by.name, "lifted" if by.name in LIFTS else "replaced")


def _statuses(town: Town) -> Iterator[Violation]:
    kinds: dict[str, set[str | None]] = defaultdict(lambda: {None})
    for restriction in town.restrictions.values():
        if not restriction.ended_at:
            kinds[str(restriction.subject)].add(restriction.kind)
    for subject, (found, _) in town.records.items():
        statuses = STATUSES[subject.partition(":")[0]]
        status = [status for kind, status in statuses.items() if kind in kinds[subject]][-1]
        expected = [status, "hidden" in kinds[subject]][: len(found)]
        if found != expected:
            yield town.violation(subject, f"{said(expected)}, as its restrictions say", said(found))


def _beginning(town: Town, pk: str, restriction: Restriction, begun: list[Success]) -> Iterator[Violation]:
    says = [(one.pk, BEGINS.get(one.directive.name), str(one.directive.subject)) for one in begun]
    is_from = (str(restriction.directive_id), restriction.kind, str(restriction.subject))
    if says != [is_from]:
        yield town.violation(pk, f"one success that began it, of {is_from}", says)


def _end(town: Town, pk: str, restriction: Restriction, ended: list[Success]) -> Iterator[Violation]:
    expected = [str(restriction.ended_by)] if restriction.ended_by else []
    if [one.pk for one in ended] != expected:
        yield town.violation(pk, f"to be ended by {expected}", [one.pk for one in ended])
    for one in ended:
        if not _may_end(one.directive, restriction):
            yield town.violation(pk, "to be ended by what is about it", f"{one.directive} ({one.pk})")
    is_over = restriction.until and restriction.until + OVERDUE < town.now
    if is_over and not restriction.ended_at:
        yield town.violation(pk, f"to have ended at {restriction.until}", "an active one")


def _may_end(directive: Directive, restriction: Restriction) -> bool:
    if directive.subject != restriction.subject:
        return False
    if directive.name == END:
        origin = directive.idempotency_key.split(":")
        if origin[0] == "undo" and origin[2] != str(restriction.directive_id):
            return False
        if _actor(directive) == TIMER and _until(directive) != restriction.until:
            return False
        return directive.payload["restriction_id"] == str(restriction.pk)
    if directive.name in LIFTS:
        return (
            LIFTS[directive.name] == restriction.kind and restriction.requested_at <= directive.requested_at
        )
    return BEGINS[directive.name] == restriction.kind and _actor(directive) == _actor(restriction)


def _until(directive: Directive) -> datetime:
    return datetime.fromisoformat(directive.payload["until"])


def _actor(one: Directive | Restriction) -> tuple[str, str]:
    return one.actor_type, one.actor_id
