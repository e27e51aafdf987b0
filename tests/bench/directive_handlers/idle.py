"""Directives that change nothing, so that what is measured is the runner alone."""

import time
from typing import Any

from pydantic import Field

from directives.handlers import Context, DirectivePayload, Handler

SECONDS = 0.005


class NumberedPayload(DirectivePayload):
    """A number, so that each is another directive."""

    number: int = Field(ge=0)


class Noop(Handler[NumberedPayload]):
    """Does nothing."""

    name = "bench.idle.noop"
    label = "Do nothing"
    Payload = NumberedPayload

    def execute(self, context: Context, payload: NumberedPayload) -> dict[str, Any]:
        """Change nothing."""
        return {}


class Sleep(Handler[NumberedPayload]):
    """Sleeps for five milliseconds, as one that waits for something would."""

    name = "bench.idle.sleep"
    label = "Sleep"
    Payload = NumberedPayload

    def execute(self, context: Context, payload: NumberedPayload) -> dict[str, Any]:
        """Sleep."""
        time.sleep(SECONDS)
        return {}
