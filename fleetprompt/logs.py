"""What the logs leave out."""

import logging


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
