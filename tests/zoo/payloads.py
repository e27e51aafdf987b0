"""Base payload and base handler of the zoo."""

from uuid import uuid4

from pydantic import Field

from directives.handlers import DirectivePayload, Handler
from forums.models import Category
from signals.types import Subject


class AnimalPayload(DirectivePayload):
    """Which animal, what effect it leaves and how it behaves."""

    animal: str = Field(max_length=50)
    note: str = Field("", max_length=100)
    seconds: float = 0.0
    times: int = 0


class AnimalHandler(Handler[AnimalPayload]):
    """A handler about one animal, with short limits and quick retries."""

    Payload = AnimalPayload
    timeout = 5.0

    def subject(self, payload):
        return Subject("zoo.animal", payload.animal)


def leave_effect(payload):
    """Write one row that counts: a category named after the animal and the note."""
    Category.objects.create(slug=uuid4().hex, name=f"{payload.animal} {payload.note}".strip())
