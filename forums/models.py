"""Categories, threads and posts of a forum. Statuses change through `forums.moderation` only."""

from typing import ClassVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxLengthValidator, MinLengthValidator
from django.db import models
from django.db.models.functions import Length, Now
from django.utils.text import Truncator
from uuid_utils.compat import uuid7

from directives.restricting.values import RestrictedColumn
from signals.types import ID_LENGTH, Subject, is_storable

TITLE_LENGTH = 200
CONTENT_LENGTH = 20_000
THREAD_ORDER = ["-created_at", "-id"]
"""The order of threads, wherever they are listed."""

models.TextField.register_lookup(Length)


class Record(models.Model):
    """Common fields of categories, threads and posts.

    `revision` counts the moderation changes; a directive's default idempotency key ends in it.
    `external_id` is the record's id where it was imported from.
    """

    SUBJECT_TYPE: ClassVar[str]

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    external_id = models.CharField(max_length=ID_LENGTH, unique=True, null=True, blank=True)
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

    @property
    def subject(self) -> Subject:
        """The record as the subject of directives and signals."""
        return Subject(self.SUBJECT_TYPE, str(self.pk))


class Category(Record):
    """A group of threads."""

    SUBJECT_TYPE = "forum.category"

    slug = models.SlugField(max_length=50, unique=True)
    name = models.CharField(max_length=TITLE_LENGTH)
    description = models.TextField(default="", blank=True)

    class Meta:
        ordering = ["name"]
        verbose_name_plural = "categories"

    def __str__(self) -> str:
        return self.name


class Thread(Record):
    """A conversation in a category."""

    class Status(models.TextChoices):
        """State of a thread: posts can be added to an open one only."""

        OPEN = "open"
        LOCKED = "locked"
        ARCHIVED = "archived"

    SUBJECT_TYPE = "forum.thread"
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
        ]

    def __str__(self) -> str:
        return self.title


class Member(models.Model):
    """An author of posts: a person, an agent or a system, who may have a user of this community."""

    SUBJECT_TYPE = "forum.member"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    author_type = models.CharField(max_length=10)
    author_id = models.CharField(max_length=ID_LENGTH)
    label = models.CharField(max_length=ID_LENGTH, default="", blank=True)
    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="member"
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["author_type", "author_id"]
        constraints = [models.UniqueConstraint(fields=["author_type", "author_id"], name="member_author")]

    def __str__(self) -> str:
        return self.label or self.author_id


class Post(Record):
    """A member's or an agent's text in a thread."""

    class Status(models.TextChoices):
        """Visibility to readers; a deleted post is kept for the record."""

        PUBLISHED = "published"
        PENDING = "pending"
        HIDDEN = "hidden"
        DELETED = "deleted"

    class AuthorType(models.TextChoices):
        """Kind of author."""

        HUMAN = "human"
        AGENT = "agent"
        SYSTEM = "system"

    SUBJECT_TYPE = "forum.post"
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
    member = models.ForeignKey(
        Member, on_delete=models.PROTECT, null=True, blank=True, related_name="posts"
    )
    author_type = models.CharField(max_length=10, choices=AuthorType.choices, default=AuthorType.HUMAN)
    author_id = models.CharField(max_length=ID_LENGTH)
    author_label = models.CharField(max_length=ID_LENGTH, default="", blank=True)
    posted_at = models.DateTimeField(null=True, blank=True)
    directive_id = models.UUIDField(unique=True, null=True, blank=True, editable=False)

    class Meta:
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
        ]

    def __str__(self) -> str:
        return Truncator(" ".join(self.content.split())).chars(80)
