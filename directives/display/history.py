"""Timelines of a directive's signals, and histories of a subject and its parts, newest first in pages."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import F, QuerySet, Window
from django.db.models.functions import RowNumber

from directives.models import Directive
from fleetprompt.errors import Refused
from fleetprompt.postgres.queries import fetch_all
from signals.models import Signal
from signals.types import Subject, as_object, check_moment

PAGE_SIZE = 50
"""How many happenings a page of a subject's history shows."""
MAX_NESTED = 40
"""How many signals of one directive it shows, the newest."""

_LIFECYCLE = "directive."
"""How the names of the signals begin that directives leave of themselves."""
_SHOWN_ELSEWHERE = ("name", "attempt", "idempotency_key")
_MOMENTS = ("scheduled_at", "until")
_UUID = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"


@dataclass(frozen=True, slots=True)
class Entry:
    """One signal in a timeline.

    Args:
        signal: the signal.
        since: how long after the entry before it; None for the first one.
    """

    signal: Signal
    since: timedelta | None

    @property
    def attempt(self) -> int | None:
        """The attempt that it tells of; None outside attempts."""
        attempt = as_object(self.signal.payload).get("attempt")
        return attempt if type(attempt) is int and attempt > 0 else None

    @property
    def details(self) -> Any:
        """What else the signal says, as JSON; of a directive's own signals only what is not empty."""
        payload = self.signal.payload
        if not self.signal.name.startswith(_LIFECYCLE):
            return payload
        return {
            key.replace("_", " "): _moment(value) if key in _MOMENTS else value
            for key, value in as_object(payload).items()
            if key not in _SHOWN_ELSEWHERE and value not in ("", None, {}, [])
        }


def _moment(value: Any) -> Any:
    """Return the time that a text is, if it can be shown in every zone; else what was given."""
    try:
        return check_moment("time", datetime.fromisoformat(value))
    except (TypeError, ValueError, Refused):
        return value


def timeline(signals: Iterable[Signal]) -> list[Entry]:
    """Return the signals, oldest first, each with the time since the one before it."""
    entries: list[Entry] = []
    for signal in sorted(signals, key=lambda signal: (signal.recorded_at, signal.pk)):
        before = entries[-1].signal.recorded_at if entries else None
        entries.append(Entry(signal, signal.recorded_at - before if before else None))
    return entries


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where something stands in a subject's history: by its time, and by its id within one time."""

    at: datetime
    id: UUID

    def __str__(self) -> str:
        return f"{self.at.astimezone(UTC).replace(tzinfo=None).isoformat()}Z_{self.id}"

    @classmethod
    def parse(cls, text: str) -> "Place":
        """Return the place that `str` made a text of.

        Raises:
            Refused: it is no such text.
        """
        at, _, pk = text.partition("_")
        try:
            return cls(check_moment("before", datetime.fromisoformat(at)), UUID(pk))
        except ValueError as error:
            raise Refused(f"before: expected a place in a history; got {text[:80]!r}") from error


@dataclass(frozen=True, slots=True)
class Happening:
    """A directive with its signals, or a signal that belongs to no directive of the same history.

    Args:
        place: where it stands.
        entries: the signals, oldest first.
        directive: the directive, if it is one.
        is_cut: whether the directive has older signals than these.
    """

    place: Place
    entries: list[Entry]
    directive: Directive | None = None
    is_cut: bool = False

    @property
    def subject(self) -> Subject | None:
        """What it is about."""
        return self.directive.subject if self.directive else self.entries[0].signal.subject

    @property
    def is_open(self) -> bool:
        """Whether its signals are worth seeing at once: it is not simply done."""
        return self.directive is not None and self.directive.status != Directive.Status.SUCCEEDED


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a subject's history, newest first.

    Args:
        older: where the next page begins; None when this is the last one.
    """

    happenings: list[Happening]
    older: Place | None


@dataclass(frozen=True, slots=True)
class Scope:
    """The subjects whose history is one: a subject and its parts.

    Args:
        subject: whose history it is.
        parts: the types of its parts, each with a query of their records.
    """

    subject: Subject
    parts: Sequence[tuple[str, QuerySet[Any]]] = field(default_factory=tuple)

    def page(self, before: Place | None = None, limit: int = PAGE_SIZE) -> Page:
        """Return what happened to them before a place, newest first, in a bounded number of queries."""
        table, is_before = Directive._meta.db_table, _before("created_at", before)
        directives = self._places(table, "created_at", [is_before], limit + 1)
        # Signals older than the last of so many directives are for a later page.
        since = directives[-1].at if len(directives) > limit else None
        signals = self._signals(before, since, limit + 1)
        places = sorted({*directives, *signals}, reverse=True)
        shown = places[:limit]
        chosen = set(directives)
        return Page(
            happenings=sorted(
                [
                    *_of_directives([place for place in shown if place in chosen]),
                    *_of_signals([place for place in shown if place not in chosen]),
                ],
                key=lambda happening: happening.place,
                reverse=True,
            ),
            older=shown[-1] if len(places) > limit else None,
        )

    def _signals(self, before: Place | None, since: datetime | None, limit: int) -> list[Place]:
        # Not a join: for each of the few signals, one look at its directive, and one into a hash of parts.
        table, causation = Signal._meta.db_table, f"{Signal._meta.db_table}.causation_id"
        alone = f"""NOT COALESCE((
            SELECT (cause.subject_type, cause.subject_id) IN (SELECT type, id FROM parts)
            FROM {Directive._meta.db_table} AS cause
            WHERE cause.id = CASE WHEN {causation} ~ '{_UUID}' THEN {causation}::uuid END
        ), false)"""  # noqa: S608 -- nothing in it comes from outside
        conditions = [_before("recorded_at", before), (alone, [])]
        if since:
            conditions.append(("recorded_at >= %s", [since]))
        return self._places(table, "recorded_at", conditions, limit)

    def _places(
        self, table: str, time: str, conditions: list[tuple[str, list[Any]]], limit: int
    ) -> list[Place]:
        """Return the newest places in a table: the newest of each subject's newest, found by an index."""
        parts, parameters = self._parts()
        where = " AND ".join(condition for condition, _ in conditions)
        parameters += [value for _, values in conditions for value in values]
        sql = f"""
            WITH parts AS MATERIALIZED ({parts})
            SELECT found.at, found.id FROM parts CROSS JOIN LATERAL (
                SELECT {time} AS at, {table}.id FROM {table}
                WHERE subject_type = parts.type AND subject_id = parts.id AND {where}
                ORDER BY {time} DESC, {table}.id DESC LIMIT %s
            ) AS found ORDER BY found.at DESC, found.id DESC LIMIT %s
        """  # noqa: S608 -- names of tables and columns only
        return [Place(at, pk) for at, pk in fetch_all(sql, *parameters, limit, limit)]

    def _parts(self) -> tuple[str, list[Any]]:
        selects = ["SELECT %s::text AS type, %s::text AS id"]
        parameters = [self.subject.type, self.subject.id]
        for kind, records in self.parts:
            sql, values = records.order_by().values("pk").query.sql_with_params()
            selects.append(f"SELECT %s::text, part.pk::text FROM ({sql}) AS part(pk)")  # noqa: S608
            parameters += [kind, *values]
        return " UNION ALL ".join(selects), parameters


def _before(time: str, place: Place | None) -> tuple[str, list[Any]]:
    return (f"({time}, id) < (%s, %s)", [place.at, place.id]) if place else ("true", [])


def _of_directives(places: Sequence[Place]) -> list[Happening]:
    found = Directive.objects.in_bulk([place.id for place in places])
    signals = defaultdict(list)
    if places:
        newest = Window(
            RowNumber(), partition_by="causation_id", order_by=[F("recorded_at").desc(), F("id").desc()]
        )
        nested = Signal.objects.filter(causation_id__in=[str(place.id) for place in places])
        for signal in nested.annotate(rank=newest).filter(rank__lte=MAX_NESTED + 1):
            signals[signal.causation_id].append(signal)
    return [
        Happening(
            place,
            timeline(signals[str(place.id)])[-MAX_NESTED:],
            found[place.id],
            is_cut=len(signals[str(place.id)]) > MAX_NESTED,
        )
        for place in places
    ]


def _of_signals(places: Sequence[Place]) -> list[Happening]:
    found = Signal.objects.in_bulk([place.id for place in places])
    return [Happening(place, timeline([found[place.id]])) for place in places]


def latest_change(subject: Subject, status: str) -> Signal | None:
    """Return the signal that says how the subject came to its status; None when nothing on record does."""
    about = Signal.objects.filter(subject_type=subject.type, subject_id=subject.id)
    return about.filter(payload__after=status).order_by("-recorded_at", "-id").first()
