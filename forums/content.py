"""Creation of categories, threads and posts: each is checked, stored, and leaves a signal.

Outside `in_tenant` all raise `NoActiveTenant`. A `ValidationError` names the field that is wrong or taken.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.db import transaction

from fleetprompt.tenants.context import active_tenant
from forums.models import Category, Post, Record, Thread
from signals import bus
from signals.models import Signal
from signals.types import Actor

SOURCE = "forums"


def create_category(slug: str, name: str, *, actor: Actor, external_id: str | None = None) -> Category:
    """Create a category in the active tenant and emit `forum.category.created`."""
    category = Category(slug=slug, name=name, external_id=external_id)
    _store(category, {"slug": slug, "name": name}, actor)
    return category


def create_thread(
    category: Category, title: str, *, actor: Actor, external_id: str | None = None
) -> Thread:
    """Create a thread of at most 200 characters of title, and emit `forum.thread.created`."""
    thread = Thread(category=category, title=title, external_id=external_id)
    _store(thread, {"title": title, "category_id": str(category.pk)}, actor)
    return thread


def create_post(
    thread: Thread,
    content: str,
    *,
    actor: Actor,
    author_id: str,
    author_label: str = "",
    author_type: str = Post.AuthorType.HUMAN,
    posted_at: datetime | None = None,
    external_id: str | None = None,
) -> Post:
    """Create a post of 1 to 20,000 characters and emit `forum.post.created`.

    This is for content that comes from elsewhere, such as a sample or an import; agents post
    through the directive `forum.post.create`.
    """
    post = Post(
        thread=thread,
        content=content,
        author_type=author_type,
        author_id=author_id,
        author_label=author_label,
        posted_at=posted_at,
        external_id=external_id,
    )
    _store(post, post_facts(post), actor)
    return post


def store_new_posts(posts: Sequence[Post], *, actor: Actor) -> set[UUID]:
    """Store checked posts in bulk, leave out those whose external id is known, and emit their signals.

    Returns:
        the ids of the posts that were stored.
    """
    active_tenant()
    with transaction.atomic():
        Post.objects.bulk_create(posts, ignore_conflicts=True)
        ids = [post.pk for post in posts]
        stored = set(Post.objects.filter(pk__in=ids).values_list("pk", flat=True))
        new = [post for post in posts if post.pk in stored]
        bus.record([_created(post, post_facts(post), actor) for post in new])
    return stored


def post_facts(post: Post) -> dict[str, str]:
    """Return the payload of `forum.post.created` for a post."""
    names = ("thread_id", "author_type", "author_id")
    return {name: str(getattr(post, name)) for name in names}


def _store(record: Record, payload: dict[str, str], actor: Actor) -> None:
    active_tenant()
    record.full_clean()
    with transaction.atomic():
        record.save(force_insert=True)
        bus.record([_created(record, payload, actor)])


def _created(record: Record, payload: dict[str, str], actor: Actor) -> Signal:
    name = f"{record.SUBJECT_TYPE}.created"
    key = f"{name}:{active_tenant().slug}:{record.pk}"
    return bus.fact(name, payload, dedupe_key=key, actor=actor, subject=record.subject, source=SOURCE)
