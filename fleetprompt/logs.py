"""What the logs leave out."""

import logging


class NotEnqueued(logging.Filter):
    """Drops django-q2's line about each message it enqueues: it would stand between a command's rows."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether `record` is to be logged."""
        return record.funcName != "async_task"


class Brief(logging.Filter):
    """Takes the traceback off what Django logs of requests that were refused: the sentence says it all."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return True; a refusal's record is shortened."""
        if record.levelno < logging.ERROR:
            record.exc_info = None
        return True
