"""Filters of the logs, as callbacks: True lets a record through, which some of them shorten."""

import logging
import math
import re
import time

from fleetprompt.postgres import outages

_REPEAT_SECONDS = 60

_last_seen: dict[str, float] = {}


def not_enqueued(record: logging.LogRecord) -> bool:
    """Drop django-q2's line about each enqueued message, which would mix with a command's output."""
    return record.funcName != "async_task"


def untraced(record: logging.LogRecord) -> bool:
    """Remove the tracebacks of Django's records about refused and hostile requests: they fill the log."""
    is_refused = record.name == "django.request" and record.levelno < logging.ERROR
    if is_refused or record.name.startswith("django.security."):
        record.exc_info = record.exc_text = None
    return True


def not_lost(record: logging.LogRecord) -> bool:
    """Drop django-q2's repeated records of a lost connection, which the connection itself has logged."""
    return not (record.exc_info and outages.is_lost(record.exc_info[1]))


def no_query(record: logging.LogRecord) -> bool:
    """Remove the query of addresses in the development server's log, which may have personal data."""
    if isinstance(record.args, tuple) and record.args:
        first, *others = record.args
        record.args = (re.sub(r"\?\S*", "?…", str(first)), *others)
    return True


def no_result(record: logging.LogRecord) -> bool:
    """Remove the error's text from django-q2's record about a failed message: it may quote anything.

    The task itself has logged the class and the traceback.
    """
    if record.funcName == "monitor" and record.levelno >= logging.ERROR:
        record.msg, record.args = record.getMessage().partition(" - ")[0], ()
    return True


def seldom(record: logging.LogRecord) -> bool:
    """Let the same message through once in `_REPEAT_SECONDS`."""
    now = time.monotonic()
    if now - _last_seen.get(record.msg, -math.inf) < _REPEAT_SECONDS:
        return False
    _last_seen[record.msg] = now
    return True
