"""What moderation does to threads and posts: each change under a lock, each bumping the revision."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from django.db import connection

from directives.errors import DirectiveError
from forums.models import Post, Record, Thread


@dataclass(frozen=True, slots=True)
class Change:
    """What a change came to.

    Args:
        changed: False when the record was in the wanted state already; then nothing was written.
        before: its status before.
        after: its status now.
        revision: its revision now.
    """

    changed: bool
    before: str
    after: str
    revision: int


RecordT = TypeVar("RecordT", Thread, Post)


def set_status(model: type[RecordT], pk: UUID, status: str, expected_revision: int | None = None) -> Change:
    """Give one record a status, in the caller's transaction.

    Args:
        expected_revision: the revision that the requester looked at, if it matters.

    Raises:
        DirectiveError: the tenant has no such record, or it has another revision.
    """
    [change] = set_statuses(model, {pk: expected_revision}, status)
    if isinstance(change, DirectiveError):
        raise change
    return change


def set_statuses(
    model: type[RecordT], expected_revisions: Mapping[UUID, int | None], status: str
) -> list[Change | DirectiveError]:
    """Give records a status, in the caller's transaction and in two statements, however many they are.

    Args:
        expected_revisions: by record, the revision that the requester looked at; None where it does
            not matter.

    Returns:
        for each record, in their order, what changed, or why nothing did.
    """
    table = model._meta.db_table
    # Building these by the ORM takes longer than all the rest of hiding a post.
    find = f"SELECT id, status, revision FROM {table} WHERE id = ANY(%s) ORDER BY id FOR UPDATE"  # noqa: S608
    change = f"UPDATE {table} SET status = %s, revision = revision + 1 WHERE id = ANY(%s)"  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute(find, [list(expected_revisions)])
        found = {pk: (before, revision) for pk, before, revision in cursor.fetchall()}
        changes = {
            pk: _change(model, pk, found.get(pk), status, expected)
            for pk, expected in expected_revisions.items()
        }
        changed = [pk for pk, one in changes.items() if isinstance(one, Change) and one.changed]
        if changed:
            cursor.execute(change, [status, changed])
    return list(changes.values())


def _change(
    model: type[RecordT], pk: UUID, found: tuple[str, int] | None, status: str, expected: int | None
) -> Change | DirectiveError:
    if found is None:
        return _missing(model, pk)
    before, revision = found
    if expected is not None and revision != expected:
        return _changed_meanwhile(model(pk=pk, revision=revision), expected)
    changed = before != status
    return Change(changed, before, status, revision + changed)


def find(model: type[RecordT], pk: UUID) -> RecordT:
    """Return a record whose status nobody changes until the transaction ends.

    Raises:
        DirectiveError: the active tenant has none with that id.
    """
    # A lock that others share, so that those who only look do not wait for each other.
    sql = f"SELECT * FROM {model._meta.db_table} WHERE id = %s FOR SHARE"  # noqa: S608
    for record in model.objects.raw(sql, [pk]):
        return record
    raise _missing(model, pk)


def check_revision(record: Record, expected: int | None) -> None:
    """Check that `record` is at the revision that the requester looked at, if one was named.

    Raises:
        DirectiveError: it is at another one.
    """
    if expected is not None and record.revision != expected:
        raise _changed_meanwhile(record, expected)


def _missing(model: type[RecordT], pk: UUID) -> DirectiveError:
    return DirectiveError(f"{model.SUBJECT_TYPE}: there is no {pk} in this tenant")


def _changed_meanwhile(record: Record, expected: int) -> DirectiveError:
    return DirectiveError(
        f"expected_revision: {record.subject} is at revision {record.revision}, "
        f"not {expected}: it changed since it was looked at"
    )
