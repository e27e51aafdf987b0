"""Timelines of a directive's signals, and histories of a subject and its parts, newest first in pages."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import F, QuerySet, Window
from django.db.models.functions import RowNumber

from directives.display import labels
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
_MOMENTS = ("scheduled_at", "expires_at", "until")
_LAST_ID = UUID(int=2**128 - 1)

# The newest of each subject's newest, found by an index. Signals older than the last of so many directives
# are for a later page. A signal whose cause is a directive of this history is left out; that is no join:
# for each of the few signals, one look at its directive, and one into a hash of parts.
_PLACES = """
    WITH parts AS MATERIALIZED ({parts}), directives AS (
        SELECT found.* FROM parts CROSS JOIN LATERAL (
            SELECT created_at AS at, id, true FROM directives_directive
            WHERE subject_type = parts.type AND subject_id = parts.id AND (created_at, id) < (%s, %s)
            ORDER BY created_at DESC, id DESC LIMIT {limit}
        ) AS found ORDER BY at DESC, id DESC LIMIT {limit}
    ), signals AS (
        SELECT found.* FROM parts CROSS JOIN LATERAL (
            SELECT recorded_at AS at, id, false FROM signals_signal AS told
            WHERE subject_type = parts.type AND subject_id = parts.id AND (recorded_at, id) < (%s, %s)
                AND recorded_at >= COALESCE(
                    (SELECT min(at) FROM directives HAVING count(*) = {limit}), '-infinity'
                )
                AND NOT COALESCE((
                    SELECT (cause.subject_type, cause.subject_id) IN (SELECT type, id FROM parts)
                    FROM directives_directive AS cause WHERE cause.id = CASE
                        WHEN told.causation_id ~ '^[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}$'
                        THEN told.causation_id::uuid
                    END
                ), false)
            ORDER BY recorded_at DESC, id DESC LIMIT {limit}
        ) AS found ORDER BY at DESC, id DESC LIMIT {limit}
    )
    SELECT * FROM directives UNION ALL SELECT * FROM signals ORDER BY at DESC, id DESC LIMIT {limit}
"""


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
    def due_at(self) -> datetime | None:
        """When the directive is to run, if that time is still to come."""
        waits = self.directive and labels.is_snoozed(self.directive)
        return self.directive.scheduled_at if self.directive and waits else None

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


Parts = Sequence[tuple[str, QuerySet[Any]]]
"""The types of a subject's parts, each with a query of their records."""


def page(subject: Subject, parts: Parts = (), before: Place | None = None, limit: int = PAGE_SIZE) -> Page:
    """Return what happened to a subject and its parts before a place, in a bounded number of queries."""
    selects, values = _selects(subject, parts)
    end = [before.at, before.id] if before else ["infinity", _LAST_ID]
    found = fetch_all(_PLACES.format(parts=selects, limit=limit + 1), *values, *end, *end)
    shown = found[:limit]
    directives = Directive.objects.in_bulk([pk for _, pk, is_directive in shown if is_directive])
    signals = Signal.objects.in_bulk([pk for _, pk, is_directive in shown if not is_directive])
    nested = _nested(directives)
    happenings = []
    for at, pk, is_directive in shown:
        told = nested[str(pk)] if is_directive else [signals[pk]]
        entries, is_cut = timeline(told)[-MAX_NESTED:], len(told) > MAX_NESTED
        happenings.append(Happening(Place(at, pk), entries, directives.get(pk), is_cut))
    return Page(happenings, happenings[-1].place if len(found) > limit else None)


def _selects(subject: Subject, parts: Parts) -> tuple[str, list[Any]]:
    """Return the SQL of the types and ids of a subject and its parts, and its values."""
    selects, values = ["SELECT %s::text AS type, %s::text AS id"], [subject.type, subject.id]
    for kind, records in parts:
        sql, parameters = records.order_by().values("pk").query.sql_with_params()
        selects.append(f"SELECT %s::text, part.pk::text FROM ({sql}) AS part(pk)")  # noqa: S608
        values += [kind, *parameters]
    return " UNION ALL ".join(selects), values


def _nested(directives: Iterable[UUID]) -> Mapping[str, Sequence[Signal]]:
    """Return the newest signals of directives by their ids, one more of each than is shown."""
    newest = Window(
        RowNumber(), partition_by="causation_id", order_by=[F("recorded_at").desc(), F("id").desc()]
    )
    signals = Signal.objects.filter(causation_id__in=[str(pk) for pk in directives])
    found: dict[str, list[Signal]] = defaultdict(list)
    for signal in signals.annotate(rank=newest).filter(rank__lte=MAX_NESTED + 1):
        found[signal.causation_id].append(signal)
    return found


def latest_change(subject: Subject, status: str) -> Signal | None:
    """Return the signal that says how the subject came to its status; None when nothing on record does."""
    about = Signal.objects.filter(subject_type=subject.type, subject_id=subject.id)
    return about.filter(payload__after=status).order_by("-recorded_at", "-id").first()
