"""Moderation of threads and posts: payloads, handlers, and changes that bump the revision under a lock."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypeVar
from uuid import UUID

from django.db import connection
from pydantic import Field

from directives.errors import DirectiveError
from directives.handlers import Context, DirectivePayload, Handler, Reference
from forums.models import Post, Record, Thread

ThreadId = Annotated[UUID, Reference(Thread.SUBJECT_TYPE)]
PostId = Annotated[UUID, Reference(Post.SUBJECT_TYPE)]

# Building these by the ORM takes longer than all the rest of hiding a post.
_LOCK = "SELECT id, status, revision FROM {table} WHERE id = ANY(%s) ORDER BY id FOR UPDATE"
_SET_STATUS = "UPDATE {table} SET status = %s, revision = revision + 1 WHERE id = ANY(%s)"
# Not FOR UPDATE, for which every new post of a thread, whose foreign key locks the thread, would wait.
_FIND = "SELECT * FROM {table} WHERE id = %s FOR {lock}"


class ThreadPayload(DirectivePayload):
    """The payload of a directive about one thread."""

    thread_id: ThreadId = Field(description="The thread.")


class PostPayload(DirectivePayload):
    """The payload of a directive about one post."""

    post_id: PostId = Field(description="The post.")


PayloadT = TypeVar("PayloadT", ThreadPayload, PostPayload)
RecordT = TypeVar("RecordT", Thread, Post)
Model = type[Thread] | type[Post]


class StatusHandler(Handler[PayloadT]):
    """Gives the payload's thread or post the status `becomes`, and emits `signal` when that changed it."""

    model: ClassVar[Model]
    signal: ClassVar[str]
    """The name of the signal that says what happened."""

    def execute(self, context: Context, payload: PayloadT) -> dict[str, Any]:
        """Change the status; an unchanged one succeeds without a new revision or signal."""
        [result] = self.change_all([(context, payload)])
        if isinstance(result, Exception):
            raise result
        return result

    def execute_many(
        self, work: Sequence[tuple[Context, PayloadT]]
    ) -> Sequence[dict[str, Any] | Exception]:
        """Change the statuses of all of them together."""
        return self.change_all(work)

    def change_all(self, work: Sequence[tuple[Context, PayloadT]]) -> list[dict[str, Any] | Exception]:
        """Change the statuses of the payloads' records; return results and errors in their order."""
        expected = {getattr(payload, self.subject_field): payload.expected_revision for _, payload in work}
        changes = set_statuses(self.model, expected, self.becomes)
        return [
            change if isinstance(change, Exception) else self._result(context, pk, change)
            for (context, _), (pk, change) in zip(work, changes.items(), strict=True)
        ]

    def _result(self, context: Context, pk: UUID, change: "Change") -> dict[str, Any]:
        facts = {"before": change.before, "after": change.after, "revision": change.revision}
        if change.changed:
            context.emit(self.signal, {**facts, "reason": context.directive.reason})
        return {self.subject_field: str(pk), "changed": change.changed, "status": change.after, **facts}


class ThreadHandler(StatusHandler[ThreadPayload]):
    """A change of one thread's status."""

    Payload = ThreadPayload
    model = Thread
    subject_field = "thread_id"


class PostHandler(StatusHandler[PostPayload]):
    """A change of one post's status."""

    Payload = PostPayload
    model = Post
    subject_field = "post_id"


@dataclass(frozen=True, slots=True)
class Change:
    """A record's status before and after, and its revision now; not `changed` when it had the status."""

    changed: bool
    before: str
    after: str
    revision: int


def set_statuses(
    model: Model, expected_revisions: Mapping[UUID, int | None], status: str
) -> dict[UUID, Change | DirectiveError]:
    """Give records a status, in the caller's transaction and in two statements, however many they are.

    Args:
        expected_revisions: by record, the revision that the requester looked at; None where it does
            not matter.

    Returns:
        for each record, in their order, what changed, or why nothing did.
    """
    table = model._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(_LOCK.format(table=table), [list(expected_revisions)])
        found = {pk: (before, revision) for pk, before, revision in cursor.fetchall()}
        changes = {
            pk: _change(model, pk, found.get(pk), status, expected)
            for pk, expected in expected_revisions.items()
        }
        changed = [pk for pk, one in changes.items() if isinstance(one, Change) and one.changed]
        if changed:
            cursor.execute(_SET_STATUS.format(table=table), [status, changed])
    return changes


def _change(
    model: Model, pk: UUID, found: tuple[str, int] | None, status: str, expected: int | None
) -> Change | DirectiveError:
    if found is None:
        return _missing(model, pk)
    before, revision = found
    if expected is not None and revision != expected:
        return _changed_meanwhile(model(pk=pk, revision=revision), expected)
    changed = before != status
    return Change(changed, before, status, revision + changed)


def find(model: type[RecordT], pk: UUID, *, shared: bool = False) -> RecordT:
    """Return a record that nobody else changes until the transaction ends.

    The row lock is the one that an UPDATE takes, so the caller may change the record: a second caller waits
    for the first, and reads what it committed.

    Args:
        shared: for a caller that only reads the record: several may hold it at the same time. Two that then
            changed it would wait for each other, a deadlock.

    Raises:
        DirectiveError: the active tenant has none with that id.
    """
    lock = "SHARE" if shared else "NO KEY UPDATE"
    for record in model.objects.raw(_FIND.format(table=model._meta.db_table, lock=lock), [pk]):
        return record
    raise _missing(model, pk)


def check_revision(record: Record, expected: int | None) -> None:
    """Check that `record` is at the revision that the requester looked at, if one was named.

    Raises:
        DirectiveError: it is at another one.
    """
    if expected is not None and record.revision != expected:
        raise _changed_meanwhile(record, expected)


def _missing(model: type[Record], pk: UUID) -> DirectiveError:
    return DirectiveError(f"{model.SUBJECT_TYPE}: there is no {pk} in this tenant")


def _changed_meanwhile(record: Record, expected: int) -> DirectiveError:
    return DirectiveError(
        f"expected_revision: {record.subject} is at revision {record.revision}, "
        f"not {expected}: it changed since it was looked at"
    )
