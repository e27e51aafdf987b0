"""Admin pages of a community's forum.

They are read-only: a change of a thread or a post is a directive. Only a member's user is set here.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.text import Truncator
from unfold.widgets import UnfoldAdminTextInputWidget

from directives.admin.subjects import Newest, SubjectAdmin
from directives.authority.permissions import may_view
from directives.display.labels import Look
from fleetprompt.sites import tenant_site
from fleetprompt.templatetags.moments import ago, moment
from fleetprompt.web.model_admin import column
from forums import members
from forums.models import Category, Member, Post, Record, Thread
from forums.web.views import post_url
from signals.types import actor_of

MAX_NEWEST = 20
"""The most posts on a thread's or member's page, and the most threads on a category's."""
LINK_MEMBER = "forums.link_member"
"""The permission to say which user a member is."""

_STATUSES: dict[str, Look] = {
    Thread.Status.OPEN: Look("Open", "lock_open", "good"),
    Thread.Status.LOCKED: Look("Locked", "lock", "warn"),
    Thread.Status.ARCHIVED: Look("Archived", "inventory_2", "subtle"),
    Post.Status.PUBLISHED: Look("Published", "visibility", "good"),
    Post.Status.PENDING: Look("Pending", "hourglass_empty", "info"),
    Post.Status.HIDDEN: Look("Hidden", "visibility_off", "warn"),
    Post.Status.DELETED: Look("Deleted", "delete", "bad"),
}


def _author(post: Any) -> str:
    return str(post.author_label or post.author_id)


def _username(member: Any) -> str:
    return member.user.get_username() if member.user else "–"


class RecordAdmin(SubjectAdmin):
    """Common parts of the pages of categories, threads and posts."""

    status_looks = _STATUSES
    part = ""
    """The model whose records belong to such a record, if one does."""

    created = column("created", lambda record: ago(record.created_at), "created_at")

    def facts(self, request: HttpRequest, record: Record) -> Sequence[tuple[str, Any]]:
        """Return the time of storing, the revision, and the id in the source that it was imported from."""
        return [
            ("came in", moment(record.created_at)),
            ("revision", record.revision),
            ("source", record.source if record.external_id else None),
            ("external id", record.external_id),
        ]

    def newest(self, request: HttpRequest, record: Any) -> Newest | None:
        """Return the category's newest threads, or the thread's or member's newest posts."""
        if not self.part or not request.user.has_perm(f"forums.view_{self.part}"):
            return None
        found = getattr(record, f"{self.part}s").order_by("-created_at", "-id")[:MAX_NEWEST]
        notes = [f"by {_author(one)}" if isinstance(one, Post) else self.part for one in found]
        rows = [(one, self.status_look(one), note) for one, note in zip(found, notes, strict=True)]
        url = reverse(f"admin:forums_{self.part}_changelist")
        return Newest(f"Newest {self.part}s", rows, f"{url}?{self.opts.model_name}__id__exact={record.pk}")


@admin.register(Category, site=tenant_site)
class CategoryAdmin(RecordAdmin):
    """Lists categories."""

    icon = "category"
    part = "thread"
    list_display = ("name", "slug", "created")
    search_fields = ("name", "slug")

    def facts(self, request: HttpRequest, record: Any) -> Sequence[tuple[str, Any]]:
        """Return the facts about a category: names and values."""
        return [("slug", record.slug), ("description", record.description), *super().facts(request, record)]


@admin.register(Thread, site=tenant_site)
class ThreadAdmin(RecordAdmin):
    """Lists threads."""

    icon = "forum"
    part = "post"
    list_display = ("title", "category", "status", "created")
    list_filter = ("status", "category")
    list_select_related = ("category",)
    search_fields = ("title",)

    def facts(self, request: HttpRequest, record: Any) -> Sequence[tuple[str, Any]]:
        """Return the facts about a thread."""
        return [
            ("category", self.link(request, record.category)),
            ("readers", "see no trace of it" if record.is_hidden else None),
            ("version", record.version),
            *super().facts(request, record),
        ]

    def public_url(self, record: Any) -> str:
        """Return the thread's page in the forum."""
        return reverse("thread", args=[record.pk])

    def history_parts(self, record: Any) -> Sequence[tuple[str, QuerySet[Any]]]:
        """Return the thread's posts."""
        return [(Post.SUBJECT_TYPE, record.posts.all())]


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
        """Return the facts about a post."""
        return [
            ("author", _author(record)),
            ("member", self.link(request, record.member)),
            ("kind of author", record.get_author_type_display()),
            ("posted", moment(record.posted_at or record.created_at)),
            ("thread", self.link(request, record.thread)),
            ("category", self.link(request, record.thread.category)),
            ("version", record.version),
            *super().facts(request, record),
        ]

    def content(self, record: Any) -> str:
        """Return the post's text."""
        return str(record.content)

    def public_url(self, record: Any) -> str:
        """Return the address of the post on its thread's page in the forum."""
        return post_url(record)

    excerpt = column("post", lambda post: Truncator(post.content).chars(100))
    author = column("author", _author)
    posted = column("posted", lambda post: ago(post.posted_at or post.created_at), "posted_at")


class MemberForm(forms.ModelForm):  # type: ignore[type-arg]
    """The user who a member is."""

    # A list to choose from would hold every user of the community.
    user = forms.ModelChoiceField(
        User.objects.all(),
        to_field_name="username",
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="The user name of the person who writes under this name. Empty: no user.",
        error_messages={"invalid_choice": "This community has no user with the name “%(value)s”."},
    )

    class Meta:
        model = Member
        fields = ("user",)


@admin.register(Member, site=tenant_site)
class MemberAdmin(RecordAdmin):
    """Lists members, and links them to users."""

    icon = "contacts"
    part = "post"
    list_display = ("name", "author_id", "kind", "linked", "created")
    list_filter = ("author_type",)
    list_select_related = ("user",)
    search_fields = ("label", "author_id")

    def get_urls(self) -> list[URLPattern]:
        """Return the addresses, with that of the link to a user."""
        view = self.admin_site.admin_view(self.user_view)
        return [path("<uuid:pk>/user/", view, name="forums_member_user"), *super().get_urls()]

    def facts(self, request: HttpRequest, record: Any) -> Sequence[tuple[str, Any]]:
        """Return the facts about a member."""
        return [
            ("name", record.label),
            ("author id", record.author_id),
            ("kind of author", record.get_author_type_display()),
            ("user", _username(record)),
            ("first seen", moment(record.created_at)),
        ]

    def history_parts(self, record: Any) -> Sequence[tuple[str, QuerySet[Any]]]:
        """Return the member's posts."""
        return [(Post.SUBJECT_TYPE, record.posts.all())]

    def request_buttons(self, request: HttpRequest, record: Any) -> list[dict[str, str]]:
        """Return the buttons of directives, and that of the link to a user."""
        buttons = super().request_buttons(request, record)
        if request.user.has_perm(LINK_MEMBER):
            url = reverse("admin:forums_member_user", args=[record.pk])
            buttons.append({"label": "Link to a user", "icon": "link", "url": url})
        return buttons

    def user_view(self, request: HttpRequest, pk: UUID) -> HttpResponse:
        """Show or process the form with a member's user.

        Raises:
            PermissionDenied: the user may not view members, or not link them.
        """
        if not (may_view(request.user, Member) and request.user.has_perm(LINK_MEMBER)):
            raise PermissionDenied
        record = get_object_or_404(Member, pk=pk)
        page = reverse("admin:forums_member_change", args=[pk])
        data = request.POST if request.method == "POST" else None
        form = MemberForm(data, instance=record, initial={"user": record.user})
        if form.is_valid():
            try:
                members.link(record, form.cleaned_data["user"], actor=actor_of(request.user))
            except IntegrityError:
                form.add_error("user", "This user is another member already.")
            else:
                self.message_user(request, "Saved.")
                return redirect(page)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Link to a user",
            "record": record,
            "form": form,
            "back": page,
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/forums/member_user.html", context)

    name = column("member", str, "label")
    kind = column("kind", lambda member: member.get_author_type_display(), "author_type")
    linked = column("user", _username)
