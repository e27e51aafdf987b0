"""The directive `forum.thread.move`."""

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

from django.db.models import F
from pydantic import Field

from directives.errors import DirectiveError
from directives.handlers import Context, Handler, Reference
from forums import moderation
from forums.models import Category, Thread
from forums.moderation import ThreadPayload


class MoveThreadPayload(ThreadPayload):
    """The thread and the category to move it to."""

    category_id: Annotated[UUID, Reference(Category.SUBJECT_TYPE)] = Field(description="The new category.")


class MoveThread(Handler[MoveThreadPayload]):
    """Moves a thread to another category."""

    name = "forum.thread.move"
    label = "Move thread"
    inverse = name
    Payload = MoveThreadPayload
    subject_field = "thread_id"

    def execute(self, context: Context, payload: MoveThreadPayload) -> dict[str, Any]:
        """Move the thread, unless it is there already."""
        thread = moderation.find(Thread, payload.thread_id)
        moderation.check_revision(thread, payload.expected_revision)
        before, after = thread.category_id, payload.category_id
        if before == after:
            raise DirectiveError(f"category_id: {thread.subject} is in {after} already")
        if not Category.objects.filter(pk=after).exists():
            raise DirectiveError(f"category_id: there is no {after} in this tenant")
        Thread.objects.filter(pk=thread.pk).update(category_id=after, revision=F("revision") + 1)
        facts = {"before": str(before), "after": str(after), "revision": thread.revision + 1}
        context.emit("forum.thread.moved", {**facts, "reason": context.reason})
        return {"thread_id": str(thread.pk), "changed": True, **facts}

    def inverse_payload(self, payload: MoveThreadPayload, result: Mapping[str, Any]) -> dict[str, Any]:
        """Move it back to where it was."""
        return {"thread_id": str(payload.thread_id), "category_id": result["before"]}
