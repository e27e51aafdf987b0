"""The admin pages of a community's forum. They read: what changes a thread or a post is a directive."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.text import Truncator

from directives.admin.subjects import Newest, SubjectAdmin
from directives.display.labels import Look
from fleetprompt.sites import tenant_site
from fleetprompt.templatetags.moments import ago, moment
from forums.models import Category, Post, Record, Thread
from forums.web.views import post_url

NEWEST = 20
"""How many posts a thread's page shows, and how many threads a category's."""

_STATUSES: dict[str, Look] = {
    Thread.Status.OPEN: Look("Open", "lock_open", "good"),
    Thread.Status.LOCKED: Look("Locked", "lock", "warn"),
    Thread.Status.ARCHIVED: Look("Archived", "inventory_2", "subtle"),
    Post.Status.PUBLISHED: Look("Published", "visibility", "good"),
    Post.Status.HIDDEN: Look("Hidden", "visibility_off", "warn"),
    Post.Status.DELETED: Look("Deleted", "delete", "bad"),
}


class RecordAdmin(SubjectAdmin):
    """What the pages of categories, threads and posts share."""

    status_looks = _STATUSES

    def facts(self, request: HttpRequest, record: Record) -> Sequence[tuple[str, Any]]:
        """Return when and as which revision the forum has it, and its id where it came from."""
        return [
            ("came in", moment(record.created_at)),
            ("revision", record.revision),
            ("external id", record.external_id),
        ]


@admin.register(Category, site=tenant_site)
class CategoryAdmin(RecordAdmin):
    """Lists categories."""

    icon = "category"
    list_display = ("name", "slug", "created")
    search_fields = ("name", "slug")

    def facts(self, request: HttpRequest, record: Any) -> Sequence[tuple[str, Any]]:
        """Return what there is to know about a category."""
        return [("slug", record.slug), ("description", record.description), *super().facts(request, record)]

    def newest(self, request: HttpRequest, record: Any) -> Newest | None:
        """Return the category's newest threads."""
        if not request.user.has_perm("forums.view_thread"):
            return None
        rows = [(thread, self.status_look(thread), "thread") for thread in record.threads.all()[:NEWEST]]
        url = reverse("admin:forums_thread_changelist")
        return Newest("Newest threads", rows, f"{url}?category__id__exact={record.pk}")

    @admin.display(description="created", ordering="created_at")
    def created(self, category: Category) -> str:
        """Show when it was made."""
        return ago(category.created_at)


@admin.register(Thread, site=tenant_site)
class ThreadAdmin(RecordAdmin):
    """Lists threads."""

    icon = "forum"
    list_display = ("title", "category", "status", "created")
    list_filter = ("status", "category")
    list_select_related = ("category",)
    search_fields = ("title",)

    def facts(self, request: HttpRequest, record: Any) -> Sequence[tuple[str, Any]]:
        """Return what there is to know about a thread."""
        return [("category", self.link(request, record.category)), *super().facts(request, record)]

    def public_url(self, record: Any) -> str:
        """Return the thread's page in the forum."""
        return reverse("thread", args=[record.pk])

    def newest(self, request: HttpRequest, record: Any) -> Newest | None:
        """Return the thread's newest posts."""
        if not request.user.has_perm("forums.view_post"):
            return None
        rows = [
            (post, self.status_look(post), f"by {post.author_label or post.author_id}")
            for post in record.posts.order_by("-created_at", "-id")[:NEWEST]
        ]
        url = reverse("admin:forums_post_changelist")
        return Newest("Newest posts", rows, f"{url}?thread__id__exact={record.pk}")

    def history_parts(self, record: Any) -> Sequence[tuple[str, QuerySet[Any]]]:
        """Return the thread's posts."""
        return [(Post.SUBJECT_TYPE, record.posts.all())]

    @admin.display(description="created", ordering="created_at")
    def created(self, thread: Thread) -> str:
        """Show when it was made."""
        return ago(thread.created_at)


@admin.register(Post, site=tenant_site)
class PostAdmin(RecordAdmin):
    """Lists posts."""

    icon = "chat_bubble"
    list_display = ("excerpt", "author", "thread", "status", "posted")
    list_filter = ("status", "author_type")
    list_select_related = ("thread",)
    ordering = ("-created_at", "-id")
    search_fields = ("content", "author_label", "author_id")

    def facts(self, request: HttpRequest, record: Any) -> Sequence[tuple[str, Any]]:
        """Return what there is to know about a post."""
        return [
            ("author", self.author(record)),
            ("kind of author", record.get_author_type_display()),
            ("posted", moment(record.posted_at or record.created_at)),
            ("thread", self.link(request, record.thread)),
            ("category", self.link(request, record.thread.category)),
            *super().facts(request, record),
        ]

    def content(self, record: Any) -> str:
        """Return the post's text."""
        return str(record.content)

    def public_url(self, record: Any) -> str:
        """Return the post's place in the forum, on the page of its thread where it stands."""
        return post_url(record)

    @admin.display(description="post")
    def excerpt(self, post: Post) -> str:
        """Show how the post begins."""
        return Truncator(post.content).chars(100)

    @admin.display(description="author")
    def author(self, post: Post) -> str:
        """Show who wrote it."""
        return post.author_label or post.author_id

    @admin.display(description="posted", ordering="posted_at")
    def posted(self, post: Post) -> str:
        """Show when it was written, or else when it came in."""
        return ago(post.posted_at or post.created_at)
