"""What the logs leave out."""

import logging
import math
import re
import time

from fleetprompt.postgres import outages


class NotEnqueued(logging.Filter):
    """Drops django-q2's line about each message it enqueues: it would stand between a command's rows."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether `record` is to be logged."""
        return record.funcName != "async_task"


class Untraced(logging.Filter):
    """Takes the traceback off what Django logs of requests that mean harm: it would fill the log."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return True; the record of such a request is shortened."""
        if record.name.startswith("django.security."):
            record.exc_info = record.exc_text = None
        return True


class Brief(logging.Filter):
    """Takes the traceback off what Django logs of requests that were refused: the sentence says it all."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return True; a refusal's record is shortened."""
        if record.levelno < logging.ERROR:
            record.exc_info = None
        return True


class NotLost(logging.Filter):
    """Drops what django-q2 logs again and again while the database is away.

    The connection has said that it was lost (`fleetprompt.postgres.base`).
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether `record` is to be logged."""
        return not (record.exc_info and outages.is_lost(record.exc_info[1]))


class NoQuery(logging.Filter):
    """Takes the query off the addresses that the development server logs: a form may be filled from it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return True; the record's address is shortened."""
        if isinstance(record.args, tuple) and record.args:
            first, *others = record.args
            record.args = (re.sub(r"\?\S*", "?…", str(first)), *others)
        return True


class NoResult(logging.Filter):
    """Takes the error's text off what django-q2 logs of a message that failed: it may quote anything.

    `directives.tasks` has logged its class and its place.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Return True; a failed message's record is shortened."""
        if record.funcName == "monitor" and record.levelno >= logging.ERROR:
            record.msg, record.args = record.getMessage().partition(" - ")[0], ()
        return True


class Seldom(logging.Filter):
    """Lets the same complaint through once a minute, however often it is made."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether `record` is to be logged."""
        now = time.monotonic()
        if now - self._last.get(record.msg, -math.inf) < 60:
            return False
        self._last[record.msg] = now
        return True
