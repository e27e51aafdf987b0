"""The admin pages of a community's forum. They read: what changes a thread or a post is a directive."""

from django.contrib import admin
from django.utils.text import Truncator

from directives.admin.subjects import SubjectAdmin
from fleetprompt.sites import tenant_site
from fleetprompt.templatetags.moments import ago
from forums.models import Category, Post, Thread


@admin.register(Category, site=tenant_site)
class CategoryAdmin(SubjectAdmin):
    """Lists categories."""

    icon = "category"
    list_display = ("name", "slug", "created")
    search_fields = ("name", "slug")

    @admin.display(description="created", ordering="created_at")
    def created(self, category: Category) -> str:
        """Show when it was made."""
        return ago(category.created_at)


@admin.register(Thread, site=tenant_site)
class ThreadAdmin(SubjectAdmin):
    """Lists threads."""

    icon = "forum"
    list_display = ("title", "category", "status", "created")
    list_filter = ("status", "category")
    list_select_related = ("category",)
    search_fields = ("title",)

    @admin.display(description="created", ordering="created_at")
    def created(self, thread: Thread) -> str:
        """Show when it was made."""
        return ago(thread.created_at)


@admin.register(Post, site=tenant_site)
class PostAdmin(SubjectAdmin):
    """Lists posts."""

    icon = "chat_bubble"
    list_display = ("excerpt", "author", "thread", "status", "posted")
    list_filter = ("status", "author_type")
    list_select_related = ("thread",)
    ordering = ("-created_at", "-id")
    search_fields = ("content", "author_label", "author_id")

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
