"""The same job without directives: what a task of plain django-q2 looks like, written as usual."""

from uuid import UUID

from django.db import transaction
from django_tenants.utils import schema_context

from forums.models import Post
from signals.models import Signal


def noop() -> None:
    """Do nothing."""


def hide(schema: str, post_id: str) -> None:
    """Hide a post of a tenant and keep the fact, in one transaction."""
    with schema_context(schema), transaction.atomic():
        post = Post.objects.select_for_update().get(pk=UUID(post_id))
        before = post.status
        post.status = Post.Status.HIDDEN
        post.revision += 1
        post.save(update_fields=["status", "revision"])
        Signal.objects.create(
            name="forum.post.hidden",
            dedupe_key=f"forum.post.hidden:{schema}:{post.pk}:{post.revision}",
            payload={
                "before": before,
                "after": post.status,
                "revision": post.revision,
                "reason": "spam",
            },
            actor_type="system",
            actor_id="bench",
            subject_type=post.SUBJECT_TYPE,
            subject_id=str(post.pk),
            source="plain",
        )
