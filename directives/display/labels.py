"""Badges, titles and links of directives, signals and their subjects."""

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, NamedTuple

from django.contrib.admin.utils import quote
from django.db.models import Model
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from directives import registry
from directives.authority import permissions
from directives.models import SNOOZED, Directive
from fleetprompt.postgres.primary_keys import parse_uuid
from signals.models import Signal
from signals.types import Subject

TITLE_LENGTH = 80


class Look(NamedTuple):
    """How a state is shown: a word, a symbol, and the tone that repeats them."""

    word: str
    icon: str
    tone: str


STATUSES = {
    "requested": Look("Requested", "pending", "info"),
    SNOOZED: Look("Snoozed", "snooze", "warn"),
    "running": Look("Running", "autorenew", "info"),
    "succeeded": Look("Succeeded", "check_circle", "good"),
    "failed": Look("Failed", "error", "bad"),
    "canceled": Look("Canceled", "block", "subtle"),
}
_SIGNAL_ICONS = {
    "directive.requested": "add_circle",
    "directive.started": "play_circle",
    "directive.succeeded": "check_circle",
    "directive.failed": "error",
    "directive.retry_scheduled": "replay",
    "directive.snoozed": "snooze",
    "directive.run_requested": "play_arrow",
    "directive.canceled": "block",
    "directive.rerun_requested": "restart_alt",
    "directive.recovered": "healing",
}


def is_snoozed(directive: Directive) -> bool:
    """Return whether the directive is requested and not due yet."""
    waits = directive.status == Directive.Status.REQUESTED
    return waits and directive.scheduled_at > timezone.now()


def look(directive: Directive) -> Look:
    """Return how the directive's status is shown; one that is not due yet is snoozed."""
    return STATUSES[SNOOZED if is_snoozed(directive) else directive.status]


def duration(directive: Directive) -> timedelta | None:
    """Return how long the last attempt took; None before its end, and for what an attempt did not end."""
    canceled = directive.status == Directive.Status.CANCELED
    if canceled or directive.completed_at is None or directive.started_at is None:
        return None
    return max(directive.completed_at - directive.started_at, timedelta(0))


def badge(look: Look) -> SafeString:
    """Return a state as a symbol and a word."""
    return format_html(
        '<span class="fp-badge fp-{}"><span class="material-symbols-outlined" aria-hidden="true">{}</span>'
        "{}</span>",
        look.tone,
        look.icon,
        look.word,
    )


def status_badge(directive: Directive) -> SafeString:
    """Return a directive's status as a symbol and a word."""
    return badge(look(directive))


def cell(shown: str, title: str = "") -> SafeString:
    """Return what a cell of a list shows in a bounded width, and on hover the title."""
    return format_html('<span class="fp-cell" title="{}">{}</span>', title, shown)


def label(name: str) -> str:
    """Return what people call a directive, such as `Hide post`; its name when no handler has it."""
    handler = registry.find(name)
    return handler.label if handler else name


def counted_label(name: str, count: int) -> str:
    """Return what is done to that many subjects, such as `Hide 20 posts` or `Hide 1 post`.

    The number takes the place of the subject's article in the label. A label that does not name the
    subject is followed by it: `Create post for 2 threads`.
    """
    handler, text = registry.find(name), label(name)
    model = registry.subject_model(handler.subject_type) if handler else None
    if model is None:
        return text if count == 1 else f"{text}, {count:,} times"
    counted = counted_noun(model, count)
    nouns = "|".join(
        re.escape(str(noun)) for noun in (model._meta.verbose_name_plural, model._meta.verbose_name)
    )
    sentence, found = re.subn(
        rf"\b(?:(?:a|an|the)\s+)?(?:{nouns})\b", lambda _: counted, text, count=1, flags=re.IGNORECASE
    )
    return sentence if found else f"{text} for {counted}"


def counted_noun(model: type[Model], count: int) -> str:
    """Return a number of records in words, such as `1 post` or `1,204 posts`."""
    meta = model._meta
    return f"{count:,} {meta.verbose_name if count == 1 else meta.verbose_name_plural}"


def signal_icon(name: str) -> str:
    """Return the symbol of a signal."""
    return _SIGNAL_ICONS.get(name, "bolt")


Records = Mapping[Subject, Model | None]
"""Subjects that exist, with their records; None instead of a record that its reader may not view."""


def records(user: Any, about: Iterable[Subject | None]) -> Records:
    """Return the records of subjects, as far as a user may view them, in one query per type."""
    wanted = {subject for subject in about if subject}
    hidden = {
        kind
        for kind in {subject.type for subject in wanted}
        if (model := registry.subject_model(kind)) and not permissions.may_view(user, model)
    }
    found = registry.subject_records(subject for subject in wanted if subject.type not in hidden)
    return {**found, **{subject: None for subject in wanted if subject.type in hidden}}


def title(subject: Subject, records: Records) -> str:
    """Return what people know a subject by; type and id to those who may not view it.

    Args:
        records: what `records` gave.
    """
    if subject not in records:
        return f"{subject} (not found)"
    record = records[subject]
    return (record_title(record) if record else "") or str(subject)


def record_title(record: Model) -> str:
    """Return what people know a record by, in one line."""
    return Truncator(" ".join(str(record).split())).chars(TITLE_LENGTH)


def subject_link(subject: Subject | None, records: Records) -> SafeString | str:
    """Return a link to a subject's page, by its title; the plain title when it has no page to show."""
    if subject is None:
        return "–"
    record = records.get(subject)
    return record_link(record) if record else title(subject, records)


def record_link(record: Model) -> SafeString | str:
    """Return a link to a record's page, by its title; the plain title when it has no page."""
    text, url = record_title(record) or str(record.pk), record_url(record)
    return format_html('<a class="fp-link" href="{}">{}</a>', url, text) if url else text


def record_url(record: Model) -> str:
    """Return the address of a record's page in the tenant's admin; empty when it has none."""
    return _url(record, "change", quote(record.pk))


def list_url(subject_type: str) -> str:
    """Return the address of the tenant's list of subjects of a type; empty when there is none."""
    model = registry.subject_model(subject_type)
    return _url(model, "changelist") if model else ""


def _url(model: Model | type[Model], page: str, *args: Any) -> str:
    meta = model._meta
    try:
        return reverse(f"admin:{meta.app_label}_{meta.model_name}_{page}", args=args)
    except NoReverseMatch:
        return ""


def directive_link(directive: Directive) -> SafeString:
    """Return a link to a directive's page, by what people call it."""
    return format_html('<a class="fp-link" href="{}">{}</a>', record_url(directive), label(directive.name))


def causes(effects: Iterable[Signal | Directive]) -> dict[str, Directive]:
    """Return the directives that caused signals or other directives, by causation id, in one query."""
    texts = {effect.causation_id for effect in effects}
    ids = {pk for text in texts if (pk := parse_uuid(text)) and str(pk) == text}
    return {str(pk): directive for pk, directive in Directive.objects.in_bulk(ids).items()}


def gist(signal: Signal) -> str:
    """Return what a signal says besides its name, in one line: its reason or error if it has one."""
    payload = signal.payload
    if not isinstance(payload, dict):
        return str(payload)
    return str(
        payload.get("reason")
        or payload.get("error")
        or ", ".join(f"{key} {value}" for key, value in payload.items() if key not in ("name", "result"))
    )
