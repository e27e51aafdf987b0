"""Each success has exactly one effect, each failure none, and each change one signal."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from directives.models import Directive
from tests.chaos.harness.reading import Told, Town, Violation

# What the animals that leave an effect say; what the others do always fails or leaves nothing.
SAYS = {
    "zoo.animal.work": "zoo.animal.worked",
    "zoo.animal.roam": "zoo.animal.worked",
    "zoo.animal.stumble": "zoo.animal.stumbled",
    "zoo.animal.die": "zoo.animal.survived",
    "zoo.animal.freeze": "zoo.animal.thawed",
    "zoo.animal.hang": "",
}
NEVER_SUCCEED = {
    f"zoo.animal.{name}"
    for name in (
        *("refuse", "crash", "quit", "procrastinate", "babble", "mute", "doze", "hibernate"),
        *("gorge", "orphan", "escape", "swallow"),
    )
}
CHANGES = {
    "forum.thread.lock": "forum.thread.locked",
    "forum.thread.unlock": "forum.thread.unlocked",
    "forum.thread.archive": "forum.thread.archived",
    "forum.thread.unarchive": "forum.thread.unarchived",
    "forum.thread.hide": "forum.thread.hidden",
    "forum.thread.unhide": "forum.thread.unhidden",
    "forum.post.hide": "forum.post.hidden",
    "forum.post.unhide": "forum.post.unhidden",
    "forum.post.delete": "forum.post.deleted",
    "forum.post.restore": "forum.post.restored",
    "restriction.end": "restriction.ended",
    "restriction.reschedule": "restriction.rescheduled",
    "forum.post.create": "forum.post.created",
}
TELLING = ("restriction", "ended", "rescheduled")
"""The keys of a result by which it says what it did to a restriction, whether the status changed or not."""


def check(town: Town) -> Iterator[Violation]:
    """Compare the successes with the rows that the zoo left, and with the facts that were told."""
    expected: Counter[str] = Counter()
    owner: dict[str, str] = {}
    for pk, directive in town.directives.items():
        won = successes(town, pk)
        if won and directive.name in NEVER_SUCCEED:
            yield town.violation(pk, f"{directive.name} to fail whatever happens", "a success")
        if directive.name in SAYS:
            name = effect(directive)
            owner[name] = pk
            expected[name] += len(won)
        yield from _facts(town, pk, directive, won)
    for name in town.effects.keys() | expected.keys():
        if town.effects[name] != expected[name]:
            about = owner.get(name, f"the effect {name!r}")
            yield town.violation(about, f"{expected[name]} effects", town.effects[name])


def successes(town: Town, pk: str) -> list[Told]:
    """Return what tells of each success of a directive."""
    return [told for told in town.life[pk] if told.name == "directive.succeeded"]


def effect(directive: Directive) -> str:
    """Return the name of the effect that one of the zoo's directives leaves."""
    return f"{directive.payload['animal']} {directive.payload.get('note', '')}".strip()


def _facts(town: Town, pk: str, directive: Directive, won: list[Told]) -> Iterator[Violation]:
    if directive.name in SAYS:
        wanted = [SAYS[directive.name]] * len(won) if SAYS[directive.name] else []
    else:
        changes = [told for told in won if _tells(directive, told.payload["result"])]
        wanted = [CHANGES[directive.name]] * len(changes) if directive.name in CHANGES else []
    found = [told.name for told in town.facts[pk]]
    if found != wanted:
        yield town.violation(pk, f"the facts {wanted}", found)


def _tells(directive: Directive, result: dict[str, Any]) -> bool:
    if directive.name == "forum.post.create":
        return bool(result.get("changed"))
    return any(key in result for key in TELLING)
