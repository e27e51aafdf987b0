"""Categories, threads and posts come in and are edited: each is checked, stored, and leaves a signal.

Outside `in_tenant` all raise `NoActiveTenant`. A `ValidationError` names the field that is wrong or taken.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from fleetprompt.tenants.context import active_tenant
from forums.models import DEFAULT_SOURCE, Category, ContentVersion, Post, Record, Text, Thread
from signals import bus
from signals.models import Signal
from signals.types import Actor, Personal

SOURCE = "forums"

TextT = TypeVar("TextT", bound=Text)


def create_category(
    slug: str,
    name: str,
    *,
    actor: Actor,
    source: str = DEFAULT_SOURCE,
    external_id: str | None = None,
) -> Category:
    """Create a category in the active tenant and emit `forum.category.created`.

    Args:
        source: where the external id comes from; two sources may use one id.
    """
    category = Category(slug=slug, name=name, source=source, external_id=external_id)
    _store(category, {"slug": slug, "name": name}, actor)
    return category


def create_thread(
    category: Category,
    title: str,
    *,
    actor: Actor,
    source: str = DEFAULT_SOURCE,
    external_id: str | None = None,
) -> Thread:
    """Create a thread of at most 200 characters of title, and emit `forum.thread.created`.

    A member wrote the title: it can be erased from the signal.
    """
    thread = Thread(category=category, title=title, source=source, external_id=external_id)
    _store(thread, {"title": Personal(title), "category_id": str(category.pk)}, actor)
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
    source: str = DEFAULT_SOURCE,
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
        source=source,
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
        known = set(
            Post.objects.filter(
                source__in={post.source for post in posts},
                external_id__in=[post.external_id for post in posts if post.external_id],
            ).values_list("source", "external_id")
        )
        new = [post for post in posts if (post.source, post.external_id) not in known]
        # In one order: two callers with the same ids wait for each other and do not deadlock.
        new.sort(key=lambda post: (post.source, post.external_id or ""))
        Post.objects.bulk_create(new, ignore_conflicts=True)
        stored = set(Post.objects.filter(pk__in=[post.pk for post in new]).values_list("pk", flat=True))
        bus.record([_created(post, post_facts(post), actor) for post in posts if post.pk in stored])
    return stored


def edit_post(post: Post, content: str, *, actor: Actor) -> Post:
    """Replace a post's text and keep the former one; another text emits `forum.post.edited`.

    Returns:
        the post as it is stored now; its version is higher if the text is another one.

    Raises:
        ValidationError: the text is wrong.
        Post.DoesNotExist: the post is gone.
    """
    return _edit_one(post, content, actor)


def edit_thread(thread: Thread, title: str, *, actor: Actor) -> Thread:
    """Replace a thread's title as `edit_post` does a post's text; emits `forum.thread.edited`."""
    return _edit_one(thread, title, actor)


def edit_posts(source: str, contents: Mapping[str, str], *, actor: Actor) -> set[UUID]:
    """Replace the texts of posts in bulk; the texts are checked, and by the posts' external ids.

    Returns:
        the ids of those posts whose text was another one.
    """
    posts = Post.objects.filter(source=source, external_id__in=contents)
    return _edit(posts, lambda post: contents[str(post.external_id)], actor)


def post_facts(post: Post) -> dict[str, Any]:
    """Return the payload of `forum.post.created` for a post; who wrote it can be erased."""
    facts: dict[str, Any] = {
        "thread_id": str(post.thread_id),
        "author_type": str(post.author_type),
        "author_id": Personal(post.author_id),
    }
    return facts | ({"author_label": Personal(post.author_label)} if post.author_label else {})


def _store(record: Record, payload: dict[str, Any], actor: Actor) -> None:
    active_tenant()
    record.full_clean()
    with transaction.atomic():
        record.save(force_insert=True)
        bus.record([_created(record, payload, actor)])


def _created(record: Record, payload: dict[str, Any], actor: Actor) -> Signal:
    return _signal(record, "created", str(record.pk), payload, actor)


def _edit_one(record: TextT, text: str, actor: Actor) -> TextT:
    model, field = type(record), record.TEXT_FIELD
    probe = model(**{field: text})
    probe.clean_fields(exclude={one.name for one in model._meta.fields} - {field})
    probe.clean()
    _edit(model._default_manager.filter(pk=record.pk), lambda _: getattr(probe, field), actor)
    return model._default_manager.get(pk=record.pk)


def _edit(records: QuerySet[TextT], text_of: Callable[[TextT], str], actor: Actor) -> set[UUID]:
    """Give records of one model other texts, with a number of statements that does not grow with theirs."""
    active_tenant()
    model: Any = records.model
    field = model.TEXT_FIELD
    with transaction.atomic():
        # In the order in which directives lock them.
        locked = records.order_by("pk").select_for_update(no_key=True)
        changed = [record for record in locked if getattr(record, field) != text_of(record)]
        ContentVersion.objects.bulk_create(
            ContentVersion(
                subject_type=model.SUBJECT_TYPE,
                subject_id=str(record.pk),
                version=record.version,
                text=getattr(record, field),
            )
            for record in changed
        )
        for record in changed:
            setattr(record, field, text_of(record))
            record.version += 1
        model._default_manager.bulk_update(changed, [field, "version"])
        bus.record([_edited(record, actor) for record in changed])
    return {record.pk for record in changed}


def _edited(record: Text, actor: Actor) -> Signal:
    key = f"{record.pk}:{record.version}"
    return _signal(record, "edited", key, {"version": record.version}, actor)


def _signal(record: Record, what: str, key: str, payload: dict[str, Any], actor: Actor) -> Signal:
    name = f"{record.SUBJECT_TYPE}.{what}"
    return bus.fact(
        name,
        payload,
        dedupe_key=f"{name}:{active_tenant().slug}:{key}",
        actor=actor,
        subject=record.subject,
        source=SOURCE,
        member_id=getattr(record, "member_id", None),
    )
