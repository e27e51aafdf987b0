"""Moderation of threads and posts: payloads, bases of handlers, and records found under a lock."""

from typing import Annotated, TypeVar
from uuid import UUID

from pydantic import Field

from directives.handlers import DirectivePayload, Reference
from directives.lifting import LiftingHandler
from directives.restricting import obstacles
from directives.restrictions import RestrictingHandler, RestrictionPayload
from forums.models import Post, Record, Thread

ThreadId = Annotated[UUID, Reference(Thread.SUBJECT_TYPE)]
PostId = Annotated[UUID, Reference(Post.SUBJECT_TYPE)]
RecordT = TypeVar("RecordT", Thread, Post)

# Not FOR UPDATE, for which every new post of a thread, whose foreign key locks the thread, would wait.
_FIND = "SELECT * FROM {table} WHERE id = %s FOR {lock}"


class ThreadPayload(DirectivePayload):
    """The payload of a directive about one thread."""

    thread_id: ThreadId = Field(description="The thread.")


class PostPayload(DirectivePayload):
    """The payload of a directive about one post."""

    post_id: PostId = Field(description="The post.")


class RestrictThreadPayload(ThreadPayload, RestrictionPayload):
    """The payload of a directive that restricts one thread."""


class RestrictPostPayload(PostPayload, RestrictionPayload):
    """The payload of a directive that restricts one post."""


class RestrictThread(RestrictingHandler[RestrictThreadPayload]):
    """Restricts one thread."""

    Payload = RestrictThreadPayload
    subject_field = "thread_id"


class LiftThread(LiftingHandler[ThreadPayload]):
    """Lifts what restricts one thread."""

    Payload = ThreadPayload
    subject_field = "thread_id"


class RestrictPost(RestrictingHandler[RestrictPostPayload]):
    """Restricts one post."""

    Payload = RestrictPostPayload
    subject_field = "post_id"


class LiftPost(LiftingHandler[PostPayload]):
    """Lifts what restricts one post."""

    Payload = PostPayload
    subject_field = "post_id"


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
    raise obstacles.missing(model.SUBJECT_TYPE, pk)


def check_revision(record: Record, expected: int | None) -> None:
    """Check that `record` is at the revision that the requester looked at, if one was named.

    Raises:
        DirectiveError: it is at another one.
    """
    if expected is not None and record.revision != expected:
        raise obstacles.changed_meanwhile(record.subject, record.revision, expected)
