"""What the forum's handlers share: payloads with a thread or a post, and changes of a status."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, TypeVar
from uuid import UUID

from pydantic import Field

from directives.handlers import Context, DirectivePayload, Handler, Reference
from forums import moderation
from forums.models import Post, Thread

ThreadId = Annotated[UUID, Reference(Thread.SUBJECT_TYPE)]
PostId = Annotated[UUID, Reference(Post.SUBJECT_TYPE)]


class ThreadPayload(DirectivePayload):
    """The payload of a directive about one thread."""

    thread_id: ThreadId = Field(description="The thread.")


class PostPayload(DirectivePayload):
    """The payload of a directive about one post."""

    post_id: PostId = Field(description="The post.")


PayloadT = TypeVar("PayloadT", ThreadPayload, PostPayload)


class StatusHandler(Handler[PayloadT]):
    """Gives the payload's thread or post the status `becomes`, and says so when that changed anything."""

    model: ClassVar[type[Any]]
    """Thread or Post."""
    signal: ClassVar[str]
    """The name of the signal that says what happened."""

    def execute(self, context: Context, payload: PayloadT) -> dict[str, Any]:
        """Change the status; an unchanged one succeeds without a new revision or signal."""
        pk = self._pk(payload)
        change = moderation.set_status(self.model, pk, self.becomes, payload.expected_revision)
        return self._result(context, pk, change)

    def execute_many(
        self, work: Sequence[tuple[Context, PayloadT]]
    ) -> Sequence[dict[str, Any] | Exception]:
        """Change the statuses of all of them together."""
        expected = {self._pk(payload): payload.expected_revision for _, payload in work}
        changes = moderation.set_statuses(self.model, expected, self.becomes)
        return [
            change if isinstance(change, Exception) else self._result(context, pk, change)
            for (context, _), (pk, change) in zip(work, zip(expected, changes, strict=True), strict=True)
        ]

    def _pk(self, payload: PayloadT) -> UUID:
        pk: UUID = getattr(payload, self.subject_field)
        return pk

    def _result(self, context: Context, pk: UUID, change: moderation.Change) -> dict[str, Any]:
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
