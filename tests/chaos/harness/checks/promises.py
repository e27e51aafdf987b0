"""Checks the answers that requesters got: nothing promised is missing, nothing unrequested exists."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from directives.models import Directive
from tests.chaos.harness.checks.restrictions import END
from tests.chaos.harness.journal import Line, read
from tests.chaos.harness.reading import Town, Violation

SIGNAL = {
    "snooze": "directive.snoozed",
    "run_now": "directive.run_requested",
    "cancel": "directive.canceled",
    "rerun": "directive.rerun_requested",
}


@dataclass
class Promises:
    """All journals together.

    Args:
        wanted: the keys that were asked for, by tenant.
        given: the id and whether it was new, for each answer to a key, by tenant.
        done: how often an operation was answered as done, by tenant, directive and name.
        perhaps: how often its answer was lost.
        refused: requests that were refused or failed: tenant, first key, answer.
    """

    wanted: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    given: dict[str, dict[str, list[tuple[str, bool]]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    done: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    perhaps: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    refused: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, path: Path) -> None:
        """Add one journal."""
        keys: list[str] = []
        for line in read(path):
            if line.get("do") == "ask":
                keys = line["keys"]
                self.wanted[line["tenant"]].update(keys)
            elif line.get("did") == "ask":
                self._answered(line, keys)
            else:
                self._operated(line)

    def check(self, town: Town) -> Iterator[Violation]:
        """Compare one tenant with what was told about it."""
        yield from self._given(town)
        yield from self._unwanted(town)
        yield from self._operations(town)
        for tenant, about, answer in self.refused:
            if tenant == town.slug:
                yield town.violation(about, "to be accepted", answer)

    def _answered(self, line: Line, keys: list[str]) -> None:
        if isinstance(line["answers"], str):
            self.refused.append((line["tenant"], keys[0], line["answers"]))
            return
        for key, pk, created in line["answers"]:
            self.given[line["tenant"]][key].append((pk, created))

    def _operated(self, line: Line) -> None:
        if "key" in line:
            self.wanted[line["tenant"]].add(line["key"])
        for key, pk, created in line.get("answers", ()):
            self.given[line["tenant"]][key].append((pk, created))
        one = line["tenant"], line["id"], line["name"]
        if "do" in line:
            self.perhaps[one] += 1
        elif line["answer"] == "done":
            self.perhaps[one] -= 1
            self.done[one] += 1
        elif line["answer"].startswith("refused"):
            self.perhaps[one] -= 1
        elif line["answer"].startswith("error"):
            self.refused.append((line["tenant"], line["id"], line["answer"]))

    def _given(self, town: Town) -> Iterator[Violation]:
        for key, answers in self.given[town.slug].items():
            ids = {pk for pk, _ in answers}
            if len(ids) > 1 or sum(created for _, created in answers) > 1:
                yield town.violation(key, "one directive for one key", answers)
            for pk in ids:
                directive = town.directives.get(pk)
                if directive is None:
                    yield town.violation(pk, f"the directive that was promised for {key}", "none")
                elif directive.idempotency_key != key:
                    yield town.violation(pk, f"the key {key}", directive.idempotency_key)

    def _unwanted(self, town: Town) -> Iterator[Violation]:
        for pk, directive in town.directives.items():
            parent = town.directives.get(_cause(directive))
            if directive.idempotency_key in self.wanted[town.slug]:
                if directive.causation_id:
                    yield town.violation(pk, "no cause but its requester", directive.causation_id)
            elif parent is None or not any(
                one.name == "directive.succeeded" for one in town.life[str(parent.pk)]
            ):
                yield town.violation(pk, "somebody in this tenant to have asked", directive.idempotency_key)

    def _operations(self, town: Town) -> Iterator[Violation]:
        told = Counter(
            (pk, one.name) for pk, life in town.life.items() for one in life if one.name in SIGNAL.values()
        )
        names = {signal: name for name, signal in SIGNAL.items()}
        done = [(pk, name) for slug, pk, name in self.done if slug == town.slug and name in SIGNAL]
        pairs = {(pk, SIGNAL[name]) for pk, name in done} | told.keys()
        for pk, signal in pairs:
            one = town.slug, pk, names[signal]
            least, most = self.done[one], self.done[one] + self.perhaps[one]
            if not least <= told[pk, signal] <= most:
                yield town.violation(pk, f"{least} to {most} times {signal}", told[pk, signal])


def _cause(directive: Directive) -> str:
    """Return the id of the directive that led to one that no requester asked for."""
    origin, *parts = directive.idempotency_key.split(":")
    if origin == "undo":
        return parts[1]
    if origin == END:
        return parts[-2]
    return directive.causation_id
