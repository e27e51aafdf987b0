"""Forms of operations on directives: a reason always, and for a snooze the time when it ends."""

from datetime import datetime, time, timedelta
from typing import Any
from uuid import uuid4

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.formats import date_format
from unfold.widgets import INPUT_CLASSES, UnfoldAdminRadioSelectWidget, UnfoldAdminTextareaWidget

from directives.admin.forms import mark_required
from directives.admin.undoing import parse_time
from directives.models import REASON_LENGTH
from directives.requesting.validation import check_reason
from fleetprompt.web.timezone import ZonedForm
from signals.types import check_moment

_MORNING = time(9)


class OperationForm(ZonedForm):
    """The reason, and a token by which a double submit is known as one."""

    token = forms.UUIDField(widget=forms.HiddenInput, initial=uuid4)
    reason = forms.CharField(
        max_length=REASON_LENGTH,
        help_text="Why, for those who read the history.",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
    )
    field_order = ("token", "zone", "shown_at", "until", "at", "reason")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        mark_required(self)

    def clean_reason(self) -> str:
        """Return the reason if it can be one."""
        return check_reason(self.cleaned_data["reason"], required=True)


class UndoForm(OperationForm):
    """When the newest of the directives was requested, too: one that was rerun since is another one."""

    seen = forms.CharField(required=False, widget=forms.HiddenInput)

    def clean_seen(self) -> str:
        """Return the time, as it was sent.

        Raises:
            ValidationError: it is none.
        """
        text: str = self.cleaned_data["seen"]
        if text and not parse_time(text):
            raise ValidationError("seen: expected a time with a zone, such as 2030-01-31T09:00+00:00.")
        return text


class SnoozeForm(OperationForm):
    """Until when, too: one of a few usual times, or any time in the user's zone."""

    until = forms.ChoiceField(label="Until", widget=UnfoldAdminRadioSelectWidget, initial="15m", choices=())
    at = forms.DateTimeField(
        label="Time",
        required=False,
        widget=forms.DateTimeInput(
            format="%Y-%m-%dT%H:%M", attrs={"type": "datetime-local", "class": " ".join(INPUT_CLASSES)}
        ),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        morning = date_format(self._tomorrow_morning(), "D j M, H:i")
        field: Any = self.fields["until"]
        field.choices = [
            ("15m", "In 15 minutes"),
            ("1h", "In an hour"),
            ("morning", f"Tomorrow morning ({morning})"),
            ("at", "At the time below"),
        ]
        self.fields["at"].help_text = f"In your time zone, {self.shown_zone}; only for the last choice."

    def clean_at(self) -> datetime | None:
        """Return the time if it is still to come, and chosen; the choice is looked at before it."""
        at: datetime | None = self.cleaned_data["at"]
        choice = self.cleaned_data.get("until")
        if choice == "at":
            if at is None:
                raise ValidationError("Say until when.")
            if check_moment("time", at) <= timezone.now():
                raise ValidationError("Choose a time in the future.")
        elif at and choice:
            raise ValidationError("Choose “At the time below”, or leave this empty.")
        return at

    def clean(self) -> dict[str, Any]:
        """Return what was filled in, with `until` as a time."""
        cleaned = super().clean() or {}
        now, morning = timezone.now(), self._tomorrow_morning()
        times = {
            "15m": now + timedelta(minutes=15),
            "1h": now + timedelta(hours=1),
            "morning": morning,
            "at": cleaned.get("at"),
        }
        if choice := cleaned.get("until"):
            cleaned["until"] = times[choice]
        if choice == "morning" and morning <= now:
            self.add_error("until", "That morning has come by now. Choose another time.")
        return cleaned

    def _tomorrow_morning(self) -> datetime:
        tomorrow = timezone.localdate(self.shown_time, self.shown_zone) + timedelta(days=1)
        return timezone.make_aware(datetime.combine(tomorrow, _MORNING), self.shown_zone)
