"""Formatters of the logs, for people and for programs; both show exceptions without messages."""

import json
import logging
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from fleetprompt.telemetry import context, errors

_PLAIN = re.compile(r"[\w.:@+/-]+")


class Line(logging.Formatter):
    """One line for people that ends with the context; a traceback follows."""

    def __init__(self) -> None:
        super().__init__("{asctime} {levelname} {name}: {message}", style="{")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return the line."""
        text = super().formatMessage(record)
        fields = " ".join(f"{name}={_word(value)}" for name, value in _fields(record).items())
        return f"{text} [{fields}]" if fields else text

    def format(self, record: logging.LogRecord) -> str:
        """Return the line and the traceback, without another formatter's cached text of the exception."""
        record.exc_text = None
        return super().format(record)

    def formatException(self, ei: object) -> str:  # noqa: N802 - logging's name
        """Return the traceback of an `exc_info`."""
        error = ei[1] if isinstance(ei, tuple) else None
        return errors.stack(error) if error else ""


class Json(logging.Formatter):
    """One JSON object a line, for programs."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object: time, level, logger, message, the fields of `context`, the exception."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
            **_fields(record),
        }
        if error := record.exc_info and record.exc_info[1]:
            line |= {"exception": errors.brief(error), "stack": errors.stack(error)}
        return json.dumps(line, ensure_ascii=False, default=str)


def _fields(record: logging.LogRecord) -> dict[str, str | int]:
    # Django logs some records of a request after the middleware's block.
    of_request = getattr(getattr(record, "request", None), "log_fields", {})
    known: Mapping[str, str | int] = {**of_request, **context.current()}
    return {name: known[name] for name in context.FIELDS if name in known}


def _word(value: str | int) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)
