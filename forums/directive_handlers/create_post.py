"""The directive `forum.post.create`."""

from typing import Annotated, Any, Literal

from pydantic import Field

from directives.errors import DirectiveError
from directives.handlers import Context, DirectivePayload, Handler, Identifier
from forums import content, moderation
from forums.models import CONTENT_LENGTH, Post, Thread
from forums.moderation import ThreadId
from signals.types import Personal


class CreatePostPayload(DirectivePayload):
    """An agent's text, and the thread for it."""

    thread_id: ThreadId = Field(description="The thread; it must be open.")
    content: Annotated[str, Personal] = Field(
        min_length=1, max_length=CONTENT_LENGTH, description="The text."
    )
    author_type: Literal["agent"] = Field("agent", description="Only agents post by directive.")
    author_id: Identifier = Field(description="The agent's name.")
    client_request_id: Identifier = Field(
        max_length=200,
        description="The client's own id of this post, to ask twice safely.",
    )


class CreatePost(Handler[CreatePostPayload]):
    """Adds an agent's post to an open thread."""

    name = "forum.post.create"
    label = "Create post"
    Payload = CreatePostPayload
    # Posts of one thread do not depend on each other, so they need not wait in line.
    ordered = False
    subject_field = "thread_id"

    def idempotency_key(self, payload: CreatePostPayload, *, tenant: str, revision: int) -> str:
        """Return a key that ends in the client's own id instead of a revision."""
        return f"{self.name}:{tenant}:{payload.thread_id}:{payload.client_request_id}"

    def execute(self, context: Context, payload: CreatePostPayload) -> dict[str, Any]:
        """Create the post, unless an earlier run of this directive did."""
        post = Post.objects.filter(directive_id=context.directive.id).first()
        created = post is None
        if post is None:
            post = self._create(context, payload)
            facts = content.post_facts(post)
            context.emit("forum.post.created", facts, subject=post.subject, member_id=post.member_id)
        return {"post_id": str(post.pk), "thread_id": str(post.thread_id), "changed": created}

    def _create(self, context: Context, payload: CreatePostPayload) -> Post:
        thread = moderation.find(Thread, payload.thread_id, shared=True)
        if thread.status != Thread.Status.OPEN:
            raise DirectiveError(f"thread_id: {thread.subject} is {thread.status}")
        moderation.check_revision(thread, payload.expected_revision)
        return Post.objects.create(
            thread=thread,
            content=payload.content,
            author_type=payload.author_type,
            author_id=payload.author_id,
            directive_id=context.directive.id,
        )
