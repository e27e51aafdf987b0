"""Threads and posts have the state that their history implies; one directive created each post."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from tests.chaos.harness.checks.effects import CHANGES, successes
from tests.chaos.harness.reading import Told, Town, Violation

FIRST = {"forum.thread": ["open", False], "forum.post": ["published"]}


def check(town: Town) -> Iterator[Violation]:
    """Replay every record's changes, and compare the posts with the directives that make posts."""
    changes: dict[str, list[Told]] = defaultdict(list)
    for told in town.told:
        if told.name in CHANGES.values() and "revision" in told.payload:
            changes[told.subject].append(told)
    for subject, (status, revision) in town.records.items():
        yield from _replay(town, subject, changes.pop(subject, []), status, revision)
    for subject in changes:
        yield town.violation(subject, "a record", f"only {changes[subject][0].name}")
    yield from _posts(town)


def said(columns: list[Any]) -> str:
    """Return a status, and with it that a thread is hidden."""
    return columns[0] + ", hidden" * any(columns[1:])


def _replay(
    town: Town, subject: str, changes: list[Told], status: list[Any], revision: int
) -> Iterator[Violation]:
    known, number = [*FIRST[subject.partition(":")[0]]], 1
    for told in changes:
        is_flag = isinstance(told.payload["before"], bool)
        expected = {"before": known[is_flag], "revision": number + 1}
        found = {name: told.payload[name] for name in expected}
        if found != expected:
            yield town.violation(subject, f"{told.name} with {expected}", f"{found} ({told.causation_id})")
            return
        known[is_flag], number = told.payload["after"], number + 1
    if (status, revision) != (known, number):
        yield town.violation(
            subject, f"{said(known)} at revision {number}", f"{said(status)} at revision {revision}"
        )


def _posts(town: Town) -> Iterator[Violation]:
    for pk, directive in town.directives.items():
        if directive.name != "forum.post.create":
            continue
        made = town.posted.get(pk, [])
        told = {told.payload["result"]["post_id"] for told in successes(town, pk)}
        if set(made) != told or len(made) > 1:
            yield town.violation(pk, f"the posts {sorted(told)}", made)
        elif made and town.contents[made[0]] != directive.payload["content"]:
            yield town.violation(pk, directive.payload["content"], town.contents[made[0]])
    for pk in town.posted.keys() - town.directives.keys():
        yield town.violation(pk, "a directive", f"only its posts {town.posted[pk]}")
