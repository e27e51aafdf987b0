"""Loads a community's existing posts from a CSV file: in batches, bad rows set aside, safe to repeat."""

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import IO, NamedTuple
from uuid import UUID

from django.core.exceptions import ValidationError
from django.core.validators import slug_re
from django.db import transaction

from fleetprompt.cli.lines import MAX_LINE_CHARACTERS, Lines, LongLine
from fleetprompt.errors import Refused
from fleetprompt.postgres.advisory_locks import lock_in_transaction
from fleetprompt.tenants.context import active_tenant
from forums import content
from forums.models import (
    CONTENT_LENGTH,
    DEFAULT_SOURCE,
    SOURCE_LENGTH,
    TITLE_LENGTH,
    Category,
    Post,
    Thread,
)
from signals.types import ID_LENGTH, Actor, check_identifier, check_moment, check_text

ACTOR = Actor("system", "import_posts")
BATCH_ROWS = 500
"""Rows in one transaction."""
BYTE_ORDER_MARK = "\ufeff"
DATE_COLUMN = "date"
SLUG_LENGTH = 50


class Columns(NamedTuple):
    """The names of the columns that hold a post's parts; all others are left alone.

    Args:
        date: None means the column `date`, if there is one.
    """

    id: str = "id"
    author: str = "author"
    content: str = "content"
    date: str | None = None


@dataclass(frozen=True)
class RefusedRow:
    """A row that was not imported: the number of its first line, and the reason."""

    line: int
    error: str


@dataclass
class Report:
    """Result of an import.

    Args:
        thread_id: the thread with the posts; None when no row was good, so that no thread was needed.
        imported: the number of rows that became posts.
        edited: the number of rows that gave a post that was there before another text.
        repeated: the number of other rows with the id of an earlier row or of a post that was there before.
    """

    thread_id: UUID | None = None
    imported: int = 0
    edited: int = 0
    repeated: int = 0
    refused: list[RefusedRow] = field(default_factory=list)


def import_posts(
    file: IO[bytes],
    *,
    thread: str,
    category: str = "general",
    columns: Columns | None = None,
    source: str = DEFAULT_SOURCE,
    update: bool = False,
    advance: Callable[[int], None] = lambda size: None,
) -> Report:
    """Import the posts in `file` into a thread of the active tenant, and report each bad row.

    Each batch is a transaction of its own, and a post is known by its source and external id: what an
    interrupted import left out comes in when it is run again. Of several rows with one id the first counts.

    Args:
        file: CSV with a header, in UTF-8, with or without a byte-order mark.
        thread: the thread's title; the first good row makes it, if the category has none.
        category: the category's slug; made likewise.
        source: what the ids are unique in, such as the forum that the file comes from.
        update: whether a row whose id is known gives its post the row's text, as an edit.
        advance: called with the number of bytes that were read since the last call.

    Raises:
        NoActiveTenant: called outside `in_tenant`.
        ValidationError: the title, the category, the source or the header is wrong; nothing was changed.
    """
    active_tenant()
    _check_place(thread, category)
    check_identifier("source", source, length=SOURCE_LENGTH, required=True)
    rows = _rows(file, advance)
    reader = _Reader(_header(rows), columns or Columns(), source)
    report, seen = Report(), set[str]()
    while batch := list(islice(rows, BATCH_ROWS)):
        if posts := list(reader.posts(batch, report.refused)):
            _store(posts, thread, category, report, seen if update else None)
    return report


class _Row(NamedTuple):
    """The cells of one row, or the reason why it cannot be parsed."""

    line: int
    cells: list[str]
    error: str = ""


class _Lines(Lines[str]):
    """Counts the lines, those that are too long included, and refuses rows that never end."""

    number = 0
    of_row = 0

    def __next__(self) -> str:
        self.number += 1
        line = super().__next__()
        self.of_row += len(line)
        if self.of_row > MAX_LINE_CHARACTERS:
            raise LongLine
        return line


class _Reader:
    """Makes posts, not stored yet, of rows under one header."""

    def __init__(self, header: list[str], columns: Columns, source: str) -> None:
        if columns.date is None and DATE_COLUMN in header:
            columns = columns._replace(date=DATE_COLUMN)
        for name in columns:
            if name is not None and header.count(name) != 1:
                has = "it twice or more" if name in header else ", ".join(map(ascii, header))
                raise Refused(f"column: expected one column {name!r} in the header, which has {has[:500]}")
        self.header, self.columns, self.source = header, columns, source

    def posts(self, rows: list[_Row], refused: list[RefusedRow]) -> Iterator[Post]:
        """Yield a post for each good row, and add the others to `refused`."""
        for row in rows:
            try:
                yield self._post(row)
            except ValidationError as error:
                refused.append(RefusedRow(row.line, "; ".join(error.messages)))

    def _post(self, row: _Row) -> Post:
        if row.error:
            raise Refused(row.error)
        if len(row.cells) != len(self.header):
            raise Refused(f"expected {len(self.header)} fields, as in the header; got {len(row.cells)}")
        cells = dict(zip(self.header, row.cells, strict=True))
        return Post(
            source=self.source,
            external_id=_identifier(cells, self.columns.id),
            author_id=_identifier(cells, self.columns.author),
            content=_text(cells, self.columns.content, CONTENT_LENGTH),
            posted_at=None if self.columns.date is None else _moment(cells, self.columns.date),
        )


def _text(cells: dict[str, str], name: str, length: int, *, required: bool = True) -> str:
    value = cells[name].replace(BYTE_ORDER_MARK, "")
    if value.encode(errors="ignore").decode() != value:
        raise Refused(f"{name}: expected UTF-8")
    return check_text(name, value, length=length, required=required)


def _identifier(cells: dict[str, str], name: str) -> str:
    return check_identifier(name, _text(cells, name, ID_LENGTH).strip(), length=ID_LENGTH)


def _moment(cells: dict[str, str], name: str) -> datetime | None:
    text = _text(cells, name, ID_LENGTH, required=False).strip()
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(f"{name}: expected a time in ISO 8601, or nothing; got {text[:80]!r}") from None
    return check_moment(name, moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _check_place(thread: str, category: str) -> None:
    check_text("thread", thread, length=TITLE_LENGTH, required=True)
    check_text("category", category, length=SLUG_LENGTH)
    if not slug_re.fullmatch(category):
        raise Refused(f"category: expected letters, digits, hyphens and underscores; got {category!r}")


def _rows(file: IO[bytes], advance: Callable[[int], None]) -> Iterator[_Row]:
    # What is not UTF-8 becomes surrogates, so that it costs its own row and no other.
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    lines = _Lines(text)
    parser = csv.reader(lines, strict=True)
    seekable, read = file.seekable(), 0
    while True:
        line, lines.of_row = lines.number + 1, 0
        try:
            row = _Row(line, next(parser))
        except StopIteration:
            return
        except (csv.Error, LongLine) as error:
            row = _Row(line, [], f"expected CSV; {error}")
        if seekable:
            advance(file.tell() - read)
            read = file.tell()
        if row.cells or row.error:
            yield row


def _header(rows: Iterator[_Row]) -> list[str]:
    first = next(rows, None)
    if first is None:
        raise Refused("header: expected a line with the names of the columns; the file is empty")
    if first.error:
        raise Refused(f"header: {first.error}")
    return [name.strip() for name in first.cells]


@transaction.atomic
def _store(posts: list[Post], title: str, category: str, report: Report, seen: set[str] | None) -> None:
    """Store a batch; edit the posts that are known, if `seen` has the ids of the rows before."""
    thread = _thread(title, category)
    for post in posts:
        post.thread = thread
    stored = content.store_new_posts(posts, actor=ACTOR)
    edited: set[UUID] = set()
    if seen is not None:
        first = {str(post.external_id): post for post in reversed(posts) if post.external_id not in seen}
        seen.update(first)
        texts = {external_id: post.content for external_id, post in first.items() if post.pk not in stored}
        edited = content.edit_posts(posts[0].source, texts, actor=ACTOR)
    report.thread_id = thread.pk
    report.imported += len(stored)
    report.edited += len(edited)
    report.repeated += len(posts) - len(stored) - len(edited)


def _thread(title: str, slug: str) -> Thread:
    """Return the oldest thread of that title in the category; make what is missing."""
    # Two imports into one new thread meet here; titles have no constraint that would decide.
    lock_in_transaction("forums.importing")
    category = Category.objects.filter(slug=slug).first()
    if category is None:
        name = slug.replace("-", " ").replace("_", " ").strip().capitalize() or slug
        category = content.create_category(slug, name, actor=ACTOR)
    thread = category.threads.filter(title=title).order_by("created_at", "id").first()
    return thread or content.create_thread(category, title, actor=ACTOR)
