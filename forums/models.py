"""Categories, threads, posts and members of a forum. Statuses change through `forums.moderation` only."""

from collections.abc import Iterable
from typing import Any, ClassVar
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator, MinLengthValidator
from django.db import models, transaction
from django.db.models.functions import Length, Now
from django.utils.text import Truncator
from uuid_utils.compat import uuid7

from directives.restricting.values import RestrictedColumn
from signals.types import ID_LENGTH, NAME_LENGTH, Subject, is_storable

TITLE_LENGTH = 200
CONTENT_LENGTH = 20_000
SOURCE_LENGTH = 50
DEFAULT_SOURCE = "import"
"""The source by default: records that are older than sources came from imports."""
THREAD_ORDER = ["-created_at", "-id"]
"""The order of threads, wherever they are listed."""

models.TextField.register_lookup(Length)


class Record(models.Model):
    """Common fields of categories, threads and posts.

    `revision` counts the moderation changes; a directive's default idempotency key ends in it.
    `external_id` is the record's id in `source`, the forum or file that it was imported from.
    """

    SUBJECT_TYPE: ClassVar[str]

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    source = models.CharField(max_length=SOURCE_LENGTH, default=DEFAULT_SOURCE, db_default=DEFAULT_SOURCE)
    external_id = models.CharField(max_length=ID_LENGTH, null=True, blank=True)
    revision = models.PositiveIntegerField(default=1, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        abstract = True

    def clean(self) -> None:
        """Check what Django's fields do not: that PostgreSQL can store the texts."""
        values = {field.name: getattr(self, field.attname) for field in self._meta.concrete_fields}
        texts = {name: value for name, value in values.items() if isinstance(value, str)}
        if wrong := [name for name, text in texts.items() if not is_storable(text)]:
            expected = "Expected text without NUL or unpaired surrogates."
            raise ValidationError(dict.fromkeys(wrong, expected))

    def unique_error_message(self, model_class: Any, unique_check: Any) -> ValidationError:
        """Return the error for values that another record has; of an external id it names that field."""
        error = super().unique_error_message(model_class, unique_check)
        if "external_id" not in unique_check:
            return error
        named = ValidationError({"external_id": error})
        # Django reads it from whatever is returned.
        named.code = error.code
        return named

    @property
    def subject(self) -> Subject:
        """The record as the subject of directives and signals."""
        return Subject(self.SUBJECT_TYPE, str(self.pk))


class Text(Record):
    """A record whose text can be edited: `version` counts its texts, `ContentVersion` keeps former ones."""

    TEXT_FIELD: ClassVar[str]
    """The field with the text."""

    version = models.PositiveIntegerField(default=1, db_default=1, editable=False)

    class Meta:
        abstract = True


class Category(Record):
    """A group of threads."""

    SUBJECT_TYPE = "forum.category"
    SCOPE = "id"

    slug = models.SlugField(max_length=50, unique=True)
    name = models.CharField(max_length=TITLE_LENGTH)
    description = models.TextField(default="", blank=True)

    class Meta:
        ordering = ["name"]
        verbose_name_plural = "categories"
        constraints = [
            models.UniqueConstraint(fields=["source", "external_id"], name="category_external_id")
        ]

    def __str__(self) -> str:
        return self.name


class Thread(Text):
    """A conversation in a category."""

    class Status(models.TextChoices):
        """State of a thread: posts can be added to an open one only."""

        OPEN = "open"
        LOCKED = "locked"
        ARCHIVED = "archived"

    SUBJECT_TYPE = "forum.thread"
    TEXT_FIELD = "title"
    SCOPE = "category_id"
    RESTRICTED_COLUMNS = (
        RestrictedColumn("status", Status.OPEN, {"locked": Status.LOCKED, "archived": Status.ARCHIVED}),
        RestrictedColumn("is_hidden", False, {"hidden": True}),
    )

    category = models.ForeignKey(Category, on_delete=models.PROTECT, related_name="threads")
    title = models.CharField(max_length=TITLE_LENGTH)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.OPEN)
    is_hidden = models.BooleanField(default=False, db_default=False)

    class Meta:
        ordering = THREAD_ORDER
        constraints = [
            models.CheckConstraint(
                condition=models.Q(status__in=["open", "locked", "archived"]),
                name="thread_status_known",
            ),
            models.CheckConstraint(condition=~models.Q(title=""), name="thread_title_given"),
            models.UniqueConstraint(fields=["source", "external_id"], name="thread_external_id"),
        ]

    def __str__(self) -> str:
        return self.title


class AuthorType(models.TextChoices):
    """Kind of author."""

    HUMAN = "human"
    AGENT = "agent"
    SYSTEM = "system"


class MemberManager(models.Manager["Member"]):
    """Finds and makes the members of authors."""

    def assign(self, posts: Iterable["Post"]) -> None:
        """Give posts that have no member their authors' ones, in the caller's transaction.

        Members that are missing are made in one statement and in one order, so that two callers with the
        same authors wait for each other and do not deadlock. A new member's label is its first post's.
        """
        without = [post for post in posts if post.member_id is None]
        labels = {post.author: post.author_label for post in reversed(without)}
        found = self._ids(labels)
        if missing := sorted(labels.keys() - found.keys()):
            made = (Member(author_type=kind, author_id=pk, label=labels[kind, pk]) for kind, pk in missing)
            self.bulk_create(made, ignore_conflicts=True)
            found |= self._ids(missing)
        for post in without:
            post.member_id = found[post.author]

    def _ids(self, authors: Iterable[tuple[str, str]]) -> dict[tuple[str, str], UUID]:
        kinds, ids = {kind for kind, _ in authors}, [pk for _, pk in authors]
        found = self.filter(author_type__in=kinds, author_id__in=ids)
        return {(kind, pk): key for kind, pk, key in found.values_list("author_type", "author_id", "pk")}


class Member(models.Model):
    """An author of posts: a person, an agent or a system, who may have a user of this community."""

    SUBJECT_TYPE = "forum.member"
    MEMBER = "id"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    author_type = models.CharField(max_length=10, choices=AuthorType.choices)
    author_id = models.CharField(max_length=ID_LENGTH)
    label = models.CharField(max_length=ID_LENGTH, default="", blank=True)
    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="member"
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = MemberManager()

    class Meta:
        ordering = ["author_type", "author_id"]
        permissions = [("link_member", "Can link members to users")]
        constraints = [
            models.UniqueConstraint(fields=["author_type", "author_id"], name="member_author"),
            # For the foreign key of posts that compares their authors, too.
            models.UniqueConstraint(fields=["id", "author_type", "author_id"], name="member_and_author"),
        ]

    def __str__(self) -> str:
        return self.label or self.author_id

    @property
    def subject(self) -> Subject:
        """The member as the subject of signals."""
        return Subject(self.SUBJECT_TYPE, str(self.pk))


class PostManager(models.Manager["Post"]):
    """Stores posts with their authors' members."""

    def bulk_create(self, objs: Iterable["Post"], *args: Any, **kwargs: Any) -> list["Post"]:
        """Insert posts, and the members that are missing."""
        posts = list(objs)
        with transaction.atomic(savepoint=False):
            Member.objects.assign(posts)
            return super().bulk_create(posts, *args, **kwargs)


class Post(Text):
    """A member's or an agent's text in a thread."""

    class Status(models.TextChoices):
        """Visibility to readers; a deleted post is kept for the record."""

        PUBLISHED = "published"
        PENDING = "pending"
        HIDDEN = "hidden"
        DELETED = "deleted"

    AuthorType = AuthorType
    SUBJECT_TYPE = "forum.post"
    TEXT_FIELD = "content"
    SCOPE = "thread__category_id"
    MEMBER = "member_id"
    RESTRICTED_COLUMNS = (
        RestrictedColumn(
            "status",
            Status.PUBLISHED,
            {"pending": Status.PENDING, "hidden": Status.HIDDEN, "deleted": Status.DELETED},
        ),
    )

    thread = models.ForeignKey(Thread, on_delete=models.CASCADE, related_name="posts")
    content = models.TextField(validators=[MinLengthValidator(1), MaxLengthValidator(CONTENT_LENGTH)])
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.PUBLISHED)
    # The constraint in the database has the author's columns, too, so that they agree with the member.
    member = models.ForeignKey(
        Member,
        on_delete=models.PROTECT,
        db_constraint=False,
        blank=True,
        editable=False,
        related_name="posts",
    )
    author_type = models.CharField(max_length=10, choices=AuthorType.choices, default=AuthorType.HUMAN)
    author_id = models.CharField(max_length=ID_LENGTH)
    author_label = models.CharField(max_length=ID_LENGTH, default="", blank=True)
    posted_at = models.DateTimeField(null=True, blank=True)
    directive_id = models.UUIDField(unique=True, null=True, blank=True, editable=False)

    objects = PostManager()

    class Meta:
        base_manager_name = "objects"
        ordering = ["created_at", "id"]
        indexes = [models.Index(fields=["thread", "created_at", "id"], name="post_in_thread")]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(status__in=["published", "pending", "hidden", "deleted"]),
                name="post_status_known",
            ),
            models.CheckConstraint(
                condition=models.Q(author_type__in=["human", "agent", "system"]),
                name="post_author_type_known",
            ),
            models.CheckConstraint(
                condition=models.Q(content__length__gte=1) & models.Q(content__length__lte=CONTENT_LENGTH),
                name="post_content_length",
            ),
            models.UniqueConstraint(fields=["source", "external_id"], name="post_external_id"),
        ]

    def __str__(self) -> str:
        return Truncator(" ".join(self.content.split())).chars(80)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Store the post; a new one with its author's member, which is made if it is missing."""
        with transaction.atomic(savepoint=False):
            Member.objects.assign([self])
            super().save(*args, **kwargs)

    @property
    def author(self) -> tuple[str, str]:
        """The author's type and id, which identify the member."""
        return self.author_type, self.author_id


class ContentVersion(models.Model):
    """A former text of a thread or post, from when an edit replaced it; rows are only inserted."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    subject_type = models.CharField(max_length=NAME_LENGTH)
    subject_id = models.CharField(max_length=ID_LENGTH)
    version = models.PositiveIntegerField()
    text = models.TextField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["subject_type", "subject_id", "version"]
        default_permissions = ["view"]
        constraints = [
            models.UniqueConstraint(
                fields=["subject_type", "subject_id", "version"], name="content_version_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.subject_type}:{self.subject_id}, version {self.version}"
