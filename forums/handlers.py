"""What the forum's handlers share: payloads with a thread or a post, and changes of a status."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, TypeVar
from uuid import UUID

from pydantic import Field

from directives.handlers import Context, DirectivePayload, Handler
from forums import moderation
from forums.models import Post, Thread
from signals.types import Subject


class ThreadPayload(DirectivePayload):
    """The payload of a directive about one thread."""

    thread_id: UUID = Field(description="The thread.")


class PostPayload(DirectivePayload):
    """The payload of a directive about one post."""

    post_id: UUID = Field(description="The post.")


PayloadT = TypeVar("PayloadT", ThreadPayload, PostPayload)


class StatusHandler(Handler[PayloadT]):
    """Gives the payload's thread or post a status, and says so when that changed anything."""

    model: ClassVar[type[Thread] | type[Post]]
    id_field: ClassVar[str]
    change: ClassVar[Callable[..., moderation.Change]]
    """The domain function; it takes the id and `expected_revision`."""
    signal: ClassVar[str]
    """The name of the signal that says what happened."""

    def subject(self, payload: PayloadT) -> Subject:
        """Return the thread or post."""
        return Subject(self.model.SUBJECT_TYPE, str(getattr(payload, self.id_field)))

    def revisions(self, subject_ids: Iterable[str]) -> Mapping[str, int]:
        """Return the revisions of those that exist."""
        return moderation.revisions(self.model, set(subject_ids))

    def execute(self, context: Context, payload: PayloadT) -> dict[str, Any]:
        """Change the status; an unchanged one succeeds without a new revision or signal."""
        pk = getattr(payload, self.id_field)
        change = type(self).change(pk, expected_revision=payload.expected_revision)
        facts = {"before": change.before, "after": change.after, "revision": change.revision}
        if change.changed:
            context.emit(self.signal, {**facts, "reason": context.directive.reason})
        return {self.id_field: str(pk), "changed": change.changed, "status": change.after, **facts}


class ThreadHandler(StatusHandler[ThreadPayload]):
    """A change of one thread's status."""

    Payload = ThreadPayload
    model = Thread
    id_field = "thread_id"


class PostHandler(StatusHandler[PostPayload]):
    """A change of one post's status."""

    Payload = PostPayload
    model = Post
    id_field = "post_id"
