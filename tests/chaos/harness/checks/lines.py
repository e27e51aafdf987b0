"""Directives on one subject ran one at a time, and none was claimed while an earlier due one waited."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

from directives.models import Directive
from tests.chaos.harness.reading import LIFE, Told, Town, Violation

NEVER = datetime.max.replace(tzinfo=UTC)
# A claim looks a moment before it writes down that it started; what was committed in between it did
# not see. A person's operation takes its time a moment before it is written down, too.
LOOKS = timedelta(seconds=1)
WAITS = timedelta(seconds=15)


class Place(NamedTuple):
    """Where a directive stood in its line; between two times where the signals do not say exactly."""

    earliest: datetime
    latest: datetime


class Stay(NamedTuple):
    """A time in which a directive waited at one place, as others could see it."""

    place: Place
    since: datetime
    until: datetime


class Run(NamedTuple):
    """One attempt: when it started, when that and its end were visible, and the place of its claim.

    Args:
        looks: how long before it started the claim may have looked.
        place: None when it took over from a stalled attempt.
    """

    pk: str
    attempt: int
    started: datetime
    visible: datetime
    ended: datetime
    looks: timedelta
    place: Place | None


@dataclass
class Course:
    """What one directive's signals say of its stays and its runs."""

    pk: str
    stays: list[Stay]
    runs: list[Run]


def check(town: Town) -> Iterator[Violation]:
    """Check every line of the tenant."""
    lines = defaultdict(list)
    for pk, directive in town.directives.items():
        if directive.ordering_key:
            lines[directive.ordering_key].append(_course(town, pk, directive))
    for line in lines.values():
        yield from _one_at_a_time(town, line)
        yield from _in_order(town, line)
    yield from _handlers_apart(town)


def _one_at_a_time(town: Town, line: list[Course]) -> Iterator[Violation]:
    runs = sorted((run for course in line for run in course.runs), key=lambda run: run.started)
    for before, after in pairwise(runs):
        # One claim may give up on a stalled directive and start the next one of its line.
        if before.pk != after.pk and after.visible != before.ended and after.started < before.ended:
            expected = f"to start after {before.pk} attempt {before.attempt}, at {before.ended}"
            yield town.violation(after.pk, expected, f"attempt {after.attempt} at {after.started}")


def _in_order(town: Town, line: list[Course]) -> Iterator[Violation]:
    for course in line:
        for run in course.runs:
            if run.place is None:
                continue
            for other in line:
                if other is not course and _stood_before(other, run):
                    expected = f"to wait for {other.pk}, which stood before it"
                    yield town.violation(course.pk, expected, f"attempt {run.attempt} at {run.started}")


def _stood_before(other: Course, run: Run) -> bool:
    return any(
        stay.place.latest < run.place.earliest
        and stay.since + run.looks < run.started
        and stay.until > run.visible
        for stay in other.stays
    )


def _handlers_apart(town: Town) -> Iterator[Violation]:
    """Compare the times that the zoo's handlers themselves took down, where they succeeded."""
    lines = defaultdict(list)
    for pk, directive in town.directives.items():
        for told in town.life[pk]:
            result = told.payload.get("result", {})
            if directive.ordering_key and "began" in result:
                lines[directive.ordering_key].append((result["began"], result["ended"], pk))
    for spans in lines.values():
        for (_, ended, one), (began, _, other) in pairwise(sorted(spans)):
            if began < ended:
                yield town.violation(other, f"to begin after {one} at {ended}", began)


def _course(town: Town, pk: str, directive: Directive) -> Course:
    course, told = Course(pk, [], []), town.life[pk]
    place, since = None, None
    for index, one in enumerate(told):
        step = one.name.removeprefix(LIFE)
        following = told[index + 1] if index + 1 < len(told) else None
        moved = _moved(step, one, place)
        if since and (moved or step in ("started", "canceled")):
            course.stays.append(Stay(place, since, one.visible))
            since = None
        if moved:
            place = moved
        if step == "started":
            ended = following.visible if following else NEVER
            claimed = place if told[index - 1].name != "directive.recovered" else None
            looks = WAITS if _worker(one) in town.stopped else LOOKS
            course.runs.append(Run(pk, one.attempt, one.at, one.visible, ended, looks, claimed))
        if moved or step == "retry_scheduled":
            since = one.visible
    if since:
        # The row knows the last place exactly.
        exactly = Place(directive.queued_at, directive.queued_at)
        course.stays.append(Stay(exactly, since, NEVER))
    return course


def _worker(started: Told) -> int:
    return int(started.payload["worker"].rpartition(":")[2])


def _moved(step: str, told: Told, place: Place | None) -> Place | None:
    """Return the place that a signal tells of; None when the directive stays where it was."""
    if step == "requested":
        at = datetime.fromisoformat(told.payload["scheduled_at"])
        return Place(at, at)
    if step == "snoozed":
        until = datetime.fromisoformat(told.payload["until"])
        return Place(until, until)
    if step == "rerun_requested":
        return Place(told.at - WAITS, told.at)
    if step == "run_requested" and place:
        return Place(min(place.earliest, told.at - WAITS), min(place.latest, told.at))
    return None
