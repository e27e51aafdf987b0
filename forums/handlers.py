"""What the forum's handlers share: payloads with a thread or a post, and changes of a status."""

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
        pk = getattr(payload, self.subject_field)
        change = moderation.set_status(self.model, pk, self.becomes, payload.expected_revision)
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
