"""Base class of the library's handlers."""

from directives.errors import DirectiveError
from directives.handlers import Handler
from tests.library.models import Book


class StatusHandler(Handler):
    """Sets the status of a record, and fails when there is none."""

    model = Book
    subject_field = "book_id"

    def execute(self, context, payload):
        if self.wrong(payload) or not self.model.objects.filter(pk=self.subject(payload).id).exists():
            raise DirectiveError(f"{self.subject(payload)}: there is none")
        changed = self.model.objects.filter(pk=self.subject(payload).id).exclude(status=self.becomes)
        if changed := bool(changed.update(status=self.becomes)):
            context.emit(f"{self.name}_done", {"after": self.becomes})
        return {"changed": changed}

    def wrong(self, payload):
        return getattr(payload, "mood", "") == "bad"
