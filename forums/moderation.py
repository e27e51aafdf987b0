"""What moderation does to threads and posts: each change under a lock, each bumping the revision."""

from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from django.db.models import F

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
    record = find(model, pk)
    check_revision(record, expected_revision)
    before = record.status
    if before == status:
        return Change(False, before, before, record.revision)
    model.objects.filter(pk=pk).update(status=status, revision=F("revision") + 1)
    return Change(True, before, status, record.revision + 1)


def find(model: type[RecordT], pk: UUID) -> RecordT:
    """Return the record, locked until the transaction ends.

    Raises:
        DirectiveError: the active tenant has none with that id.
    """
    record = model.objects.select_for_update().filter(pk=pk).first()
    if record is None:
        raise DirectiveError(f"{model.SUBJECT_TYPE}: there is no {pk} in this tenant")
    return record


def check_revision(record: Record, expected: int | None) -> None:
    """Check that `record` is at the revision that the requester looked at, if one was named.

    Raises:
        DirectiveError: it is at another one.
    """
    if expected is not None and record.revision != expected:
        raise DirectiveError(
            f"expected_revision: {record.subject} is at revision {record.revision}, "
            f"not {expected}: it changed since it was looked at"
        )
