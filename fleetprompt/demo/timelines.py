"""What the signals say about a subject or a directive, as rows of a timeline for people."""

import textwrap
from collections.abc import Sequence
from datetime import datetime

from django.db.models import Q
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from rich.table import Table
from rich.text import Text

from directives.models import Directive
from signals.models import Signal
from signals.types import Subject

_STYLES = {
    "directive.succeeded": "green",
    "directive.failed": "red",
    "directive.snoozed": "yellow",
    "directive.rerun_requested": "cyan",
    "directive.requested": "cyan",
}


def about(subject: Subject | None, *directives: Directive) -> list[Signal]:
    """Return the active tenant's signals about a subject, and those that the directives left."""
    found = Q(causation_id__in=[str(directive.id) for directive in directives])
    if subject:
        found |= Q(subject_type=subject.type, subject_id=subject.id)
    return list(Signal.objects.filter(found))


def table(signals: Sequence[Signal]) -> Table:
    """Return a timeline: when, which signal, and the details in words."""
    rows = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    rows.add_column(no_wrap=True, style="dim")
    rows.add_column(no_wrap=True)
    rows.add_column()
    for signal in signals:
        style = _STYLES.get(signal.name, "bold" if signal.name.startswith("forum.") else "dim")
        rows.add_row(clock(signal.recorded_at), Text(signal.name, style), Text(_details(signal)))
    return rows


def excerpt(text: str, width: int = 40) -> str:
    """Return the beginning of a post, on one line, in quotation marks."""
    return f"“{textwrap.shorten(text, width, placeholder=' …')}”"


def clock(moment: datetime) -> str:
    """Return the time of day to the millisecond."""
    return f"{timezone.localtime(moment):%H:%M:%S.%f}"[:-3]


def _details(signal: Signal) -> str:
    payload = signal.payload
    why = f": {payload['reason']}" if payload.get("reason") else ""
    match signal.name.split(".", 1):
        case ["directive", "requested"]:
            return f"{payload['name']} by {signal.actor}{why}"
        case ["directive", "started"]:
            return f"attempt {payload['attempt']}, worker {payload['worker']}"
        case ["directive", "succeeded"]:
            return "" if payload["result"].get("changed") else "nothing had to be changed"
        case ["directive", "failed"]:
            return str(payload["error"])
        case ["directive", "snoozed"]:
            until = parse_datetime(payload["until"]) or signal.occurred_at
            return f"until {timezone.localtime(until):%H:%M} by {signal.actor}{why}"
        case ["directive", _]:
            return f"by {signal.actor}{why}"
    if "after" in payload:
        return f"{payload['before']} → {payload['after']}, revision {payload['revision']}"
    return f"by {payload.get('author_id') or signal.actor}"
