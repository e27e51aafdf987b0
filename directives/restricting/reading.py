"""Read the active restrictions of subjects."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection

from directives import sql
from directives.restricting.values import Active
from signals.types import stored_actor


def active_restrictions(subject_type: str, subject_ids: Iterable[str]) -> dict[str, list[Active]]:
    """Return the active restrictions of subjects, by the subject's id, oldest first."""
    ids = list(subject_ids)
    found: dict[str, list[Active]] = {pk: [] for pk in ids}
    with connection.cursor() as cursor:
        cursor.execute(sql.ACTIVE_RESTRICTIONS, [subject_type, ids])
        for subject_id, *row in cursor.fetchall():
            found[subject_id].append(active_restriction(row))
    return found


def active_restriction(row: Sequence[Any]) -> Active:
    """Return an active restriction that PostgreSQL gave as a row, or as JSON."""
    pk, kind, name, directive_id, actor_type, actor_id, actor_label, *times = row
    requested_at, since, until = (
        datetime.fromisoformat(time) if isinstance(time, str) else time for time in times
    )
    actor = stored_actor(actor_type, actor_id, actor_label)
    return Active(_uuid(pk), kind, name, _uuid(directive_id), actor, requested_at, since, until)


def _uuid(value: UUID | str) -> UUID:
    return value if isinstance(value, UUID) else UUID(value)
