"""The pages of the library's records."""

from directives.admin.subjects import SubjectAdmin
from fleetprompt.sites import tenant_site
from tests.library.models import Atlas, Book, Card, Day, Shelf


class LibraryAdmin(SubjectAdmin):
    """Shows a record, and finds it by its key."""

    search_fields = ("pk",)


class BookAdmin(SubjectAdmin):
    """Shows a book, and finds it by its title."""

    search_fields = ("title",)


tenant_site.register([Book, Atlas], BookAdmin)
tenant_site.register([Card, Shelf, Day], LibraryAdmin)
