"""The rows that `manage.py directive` prints; `docs/reference/json.md` promises their keys."""

from datetime import datetime
from typing import Any

from django.utils import timezone

from directives.authority import permissions
from directives.display import labels
from directives.models import Directive
from directives.registry import AnyHandler
from fleetprompt.cli.console import Row
from signals.models import Signal
from signals.types import as_object

_FIELDS = [field.name for field in Directive._meta.concrete_fields if "personal" not in field.name]
_FIELDS.insert(_FIELDS.index("idempotency_key"), "reason")


def directive_row(directive: Directive) -> Row:
    """Return every field of a directive; times in ISO 8601, UTC."""
    return {name: _plain(getattr(directive, name)) for name in _FIELDS}


def directive_summary(directive: Directive) -> Row:
    """Return a directive's row for people: its state as the status, what and who as texts."""
    return {
        **directive_row(directive),
        "status": labels.look(directive).word.lower(),
        "subject": str(directive.subject or ""),
        "actor": str(directive.actor),
        "attempts": f"{directive.attempt}/{directive.max_attempts}",
        "created": f"{timezone.localtime(directive.created_at):%Y-%m-%d %H:%M:%S}",
    }


def signal_row(signal: Signal) -> Row:
    """Return one line of a timeline."""
    return {
        "id": str(signal.id),
        "name": signal.name,
        "at": _plain(signal.recorded_at),
        "attempt": as_object(signal.payload).get("attempt"),
        "actor": {"type": signal.actor_type, "id": signal.actor_id, "label": signal.actor_label},
        "payload": signal.payload,
    }


def type_row(handler: AnyHandler) -> Row:
    """Return what there is to know about a directive type."""
    return {
        "name": handler.name,
        "label": handler.label,
        "description": handler.summary,
        "permission": permissions.permission("request", handler.name),
        "inverse": handler.inverse,
        "timeout_seconds": handler.timeout,
        "max_attempts": handler.retry.max_attempts,
        "payload_schema": handler.Payload.model_json_schema(),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value if value is None or isinstance(value, int | float | dict | list) else str(value)
