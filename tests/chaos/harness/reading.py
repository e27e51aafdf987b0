"""Reads each tenant once at the end of a run; the checks use only this data."""

import json
from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection

from directives.models import Directive, Restriction
from fleetprompt.tenants.context import active_tenant
from forums.models import Category, Post, Thread

FORUM = "general"
"""The category that is no effect."""
LIFE = "directive."
"""How the names of the signals of a directive's own life begin."""
AGAIN = "directive.requested_again"
"""What says that somebody else asked for the same, and changes nothing."""


class Violation(NamedTuple):
    """Something that must not be.

    Args:
        tenant: its slug; empty when it is about none.
        directive: the directive's id, or what else it is about.
    """

    tenant: str
    directive: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.tenant} {self.directive}: expected {self.expected}; found {self.found}".strip()


class Told(NamedTuple):
    """One signal.

    Args:
        at: when it was written.
        visible: when it was committed; the same where the server does not keep commit times.
    """

    name: str
    dedupe_key: str
    payload: dict[str, Any]
    subject: str
    source: str
    correlation_id: str
    causation_id: str
    at: datetime
    visible: datetime

    @property
    def attempt(self) -> Any:
        """The attempt it speaks of, if it does."""
        return self.payload.get("attempt")


@dataclass
class Town:
    """One tenant.

    Args:
        directives: by id.
        told: all signals, in their order.
        life: the signals of each directive's own life that change it, by its id.
        facts: the other signals each directive left, by its id.
        records: status, or for a thread status and whether it is hidden, and revision, by subject.
        restrictions: by id.
        contents: what each post says, by its id.
        posted: the ids of the posts that directives made, by the directive's id.
        effects: how often each name of an effect is there.
        now: the database's time.
        stopped: the numbers of the processes that the harness stopped for a while.
    """

    slug: str
    directives: dict[str, Directive]
    told: list[Told]
    life: dict[str, list[Told]]
    facts: dict[str, list[Told]]
    records: dict[str, tuple[list[Any], int]]
    restrictions: dict[str, Restriction]
    posted: dict[str, list[str]]
    contents: dict[str, str]
    effects: Counter[str]
    now: datetime
    stopped: frozenset[int] = frozenset()

    def violation(self, directive: str, expected: Any, found: Any) -> Violation:
        """Return a violation in this tenant."""
        return Violation(self.slug, directive, str(expected), str(found))


def read_town(stopped: Collection[int] = ()) -> Town:
    """Read the active tenant; `stopped` are the processes that the harness stopped for a while."""
    told = _signals()
    life, facts = defaultdict(list), defaultdict(list)
    for one in told:
        if one.causation_id and one.name != AGAIN:
            (life if one.name.startswith(LIFE) else facts)[one.causation_id].append(one)
    posts = list(Post.objects.all())
    posted = defaultdict(list)
    for post in posts:
        if post.directive_id:
            posted[str(post.directive_id)].append(str(post.pk))
    return Town(
        slug=active_tenant().slug,
        directives={str(one.pk): one for one in Directive.objects.all()},
        told=told,
        life=life,
        facts=facts,
        records={
            str(one.subject): (_columns(one), one.revision) for one in [*Thread.objects.all(), *posts]
        },
        restrictions={str(one.pk): one for one in Restriction.objects.all()},
        posted=posted,
        contents={str(post.pk): post.content for post in posts},
        effects=Counter(Category.objects.exclude(slug=FORUM).values_list("name", flat=True)),
        now=_now(),
        stopped=frozenset(stopped),
    )


def _columns(record: Thread | Post) -> list[Any]:
    return [record.status, record.is_hidden] if isinstance(record, Thread) else [record.status]


def _now() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        return cursor.fetchone()[0]


def _signals() -> list[Told]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('track_commit_timestamp') = 'on'")
        visible = "pg_xact_commit_timestamp(xmin)" if cursor.fetchone()[0] else "recorded_at"
        cursor.execute(
            "SELECT name, dedupe_key, payload::text, subject_type || ':' || subject_id, source,"
            f" correlation_id, causation_id, recorded_at, {visible}"
            " FROM signals_signal ORDER BY recorded_at, id"
        )
        return [_told(row) for row in cursor.fetchall()]


def _told(row: Any) -> Told:
    name, key, payload, *rest = row
    return Told(name, key, json.loads(payload), *rest)
