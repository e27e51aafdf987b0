"""Each directive ended or is due later, its signals are a legal life, and its row agrees with them."""

import re
from collections.abc import Iterator

from directives import registry
from directives.models import Directive
from tests.chaos.harness import automaton
from tests.chaos.harness.reading import Told, Town, Violation


def check(town: Town) -> Iterator[Violation]:
    """Check every directive by itself, and that no signal speaks of one that is not there."""
    for pk, directive in town.directives.items():
        yield from _has_ended(town, pk, directive)
        yield from _is_legal(town, pk, directive)
        yield from _row(town, pk, directive)
        for told in [*town.life[pk], *town.facts[pk]]:
            yield from _belongs(town, pk, directive, told)
    for pk in (town.life.keys() | town.facts.keys()) - town.directives.keys():
        told = [*town.life[pk], *town.facts[pk]]
        if told:
            yield town.violation(pk, "a directive", f"only its signal {told[0].name}")


def _has_ended(town: Town, pk: str, directive: Directive) -> Iterator[Violation]:
    if directive.status in Directive.TERMINAL:
        return
    if directive.status != Directive.Status.REQUESTED or directive.scheduled_at <= town.now:
        due = f"{directive.status}, due at {directive.scheduled_at.isoformat(timespec='seconds')}"
        yield town.violation(pk, "ended, or requested and due later", due)


def _is_legal(town: Town, pk: str, directive: Directive) -> Iterator[Violation]:
    handler = registry.get(directive.name)
    told = town.life[pk]
    try:
        life = automaton.live(told, handler.retry.max_attempts)
    except automaton.Illegal as illegal:
        expected, _, found = str(illegal).partition("; ")
        yield town.violation(pk, expected, f"{found}, in {_story(told)}")
        return
    row = (directive.status, directive.attempt)
    if row != (life.state, life.attempt):
        said = f"{life.state} after attempt {life.attempt}, as its signals say"
        yield town.violation(pk, said, f"{row[0]} after attempt {row[1]}")


def _row(town: Town, pk: str, directive: Directive) -> Iterator[Violation]:
    if lost := directive.lost_signals:
        yield town.violation(pk, "no lost signals", ", ".join(lost))
    if (directive.completed_at is not None) != (directive.status in Directive.TERMINAL):
        yield town.violation(pk, "a time of completion when it has ended", directive.completed_at)
    results = [told.payload["result"] for told in town.life[pk] if told.name == "directive.succeeded"]
    expected = results[-1] if results and directive.status == Directive.Status.SUCCEEDED else None
    if directive.result != expected:
        yield town.violation(pk, f"the result {expected}", directive.result)
    elif expected and (expected["tenant"], expected["type"]) != (town.slug, directive.name):
        yield town.violation(pk, f"a result of {directive.name} in {town.slug}", expected)


def _belongs(town: Town, pk: str, directive: Directive, told: Told) -> Iterator[Violation]:
    if told.correlation_id != directive.correlation_id:
        yield town.violation(pk, f"{told.name} of {directive.correlation_id}", told.correlation_id)
    kind, _, about = told.subject.partition(":")
    middle = pk if told.name in LIVES else f"{about or '-'}:{pk}"
    end = f":{told.attempt}" if told.name in LIVES else ""
    if told.name not in LIVES and (kind, about) != (directive.subject_type, directive.subject_id):
        end = f":{kind}"
    if not re.fullmatch(re.escape(f"{told.name}:{town.slug}:{middle}{end}") + r"(:\d+)?", told.dedupe_key):
        yield town.violation(pk, f"a key of {told.name} in {town.slug}", told.dedupe_key)


def _story(told: list[Told]) -> str:
    return ", ".join(f"{one.name.removeprefix('directive.')} {one.attempt}" for one in told)


LIVES = {f"directive.{step}" for _, step in automaton.STEPS}
