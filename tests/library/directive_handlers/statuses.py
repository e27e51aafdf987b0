"""Directives that set a status."""

from datetime import date
from typing import Annotated

from directives.errors import DirectiveError
from directives.handlers import DirectivePayload, Handler, Reference
from tests.library.handlers import StatusHandler
from tests.library.models import Atlas, Book, Day, Shelf


class BookPayload(DirectivePayload):
    """Which book."""

    book_id: Annotated[int, Reference("library.book")]


class Withdraw(StatusHandler):
    """Takes a book out of the library."""

    name = "library.book.withdraw"
    label = "Withdraw"
    Payload = BookPayload
    becomes = "withdrawn"
    inverse = "library.book.restore"


class Restore(StatusHandler):
    """Puts a book back."""

    name = "library.book.restore"
    label = "Restore"
    Payload = BookPayload
    becomes = "open"
    inverse = "library.book.withdraw"


class AtlasPayload(DirectivePayload):
    """Which atlas."""

    atlas_id: Annotated[int, Reference("library.atlas")]


class Unfold(StatusHandler):
    """Opens an atlas."""

    name = "library.atlas.unfold"
    label = "Unfold"
    Payload = AtlasPayload
    model = Atlas
    subject_field = "atlas_id"
    becomes = "unfolded"


class ShelfPayload(DirectivePayload):
    """Which shelf, and in what mood."""

    shelf: Annotated[str, Reference("library.shelf")]
    mood: str = ""


class Dust(StatusHandler):
    """Dusts a shelf, whenever there is time for it."""

    name = "library.shelf.dust"
    label = "Dust"
    Payload = ShelfPayload
    model = Shelf
    subject_field = "shelf"
    becomes = "clean"
    ordered = False


class DayPayload(DirectivePayload):
    """Which day."""

    day: Annotated[date, Reference("library.day")]


class Close(StatusHandler):
    """Closes the library for a day."""

    name = "library.day.close"
    label = "Close"
    Payload = DayPayload
    model = Day
    subject_field = "day"
    becomes = "closed"


class CountPayload(DirectivePayload):
    """What to count, and in what mood."""

    what: str
    mood: str = ""


class Count(Handler):
    """Counts what there is, about nothing in particular."""

    name = "library.count"
    label = "Count"
    Payload = CountPayload

    def scopes(self, payloads):
        return [payload.what for payload in payloads]

    def execute(self, context, payload):
        if payload.mood == "bad":
            raise DirectiveError("no")
        return {"books": Book.objects.count()}
