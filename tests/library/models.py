"""Subjects with an integer, a slug and a date as their primary keys, and one that nothing can name."""

from django.db import models

from directives.restricting.values import RestrictedColumn


class Subject(models.Model):
    """What they share."""

    status = models.CharField(max_length=20, default="open")

    class Meta:
        abstract = True

    def __str__(self):
        return f"{self._meta.verbose_name} {self.pk}"


class Book(Subject):
    """A book: an integer, and no revision."""

    SUBJECT_TYPE = "library.book"

    title = models.CharField(max_length=100, default="Untitled")

    def __str__(self):
        return self.title


class Atlas(Book):
    """A book of maps: its key is a link to the book's."""

    SUBJECT_TYPE = "library.atlas"
    SCOPE = "title"


class Shelf(Subject):
    """A shelf: a text, and a revision."""

    SUBJECT_TYPE = "library.shelf"

    name = models.CharField(max_length=20, primary_key=True)
    revision = models.PositiveIntegerField(default=1)


class Card(Subject):
    """A reader's card: an integer, a revision, and a status that follows from restrictions."""

    SUBJECT_TYPE = "library.card"
    RESTRICTED_COLUMNS = (RestrictedColumn("status", "open", {"blocked": "blocked"}),)

    revision = models.PositiveIntegerField(default=1)


class Day(Subject):
    """A day of opening: a date."""

    SUBJECT_TYPE = "library.day"

    date = models.DateField(primary_key=True)


class Minute(models.Model):
    """A moment, which is written in many ways; it has no table."""

    SUBJECT_TYPE = "library.minute"

    at = models.DateTimeField(primary_key=True)

    class Meta:
        managed = False

    def __str__(self):
        return str(self.at)
