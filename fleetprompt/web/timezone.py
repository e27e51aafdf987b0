"""Time zone of a request: the browser's, which a cookie carries."""

from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from typing import Any
from urllib.parse import unquote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from fleetprompt.web.middleware import Middleware

COOKIE = "timezone"
"""Set by `fleetprompt/admin.js` to the browser's zone, such as `Europe/Paris`."""
MAX_NAME_LENGTH = 64
MAX_PAGE_AGE = timedelta(days=366)
"""The longest time between showing and submitting a form."""
MAX_CLOCK_SKEW = timedelta(minutes=1)
"""The largest difference between the clocks of two web servers."""


class TimezoneMiddleware(Middleware):
    """Activates the browser's zone for a request; the project's own when it is unknown."""

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with timezone.override(lookup(unquote(request.COOKIES.get(COOKIE, "")))):
            return self._get_response(request)


class ZonedForm(forms.Form):
    """A form whose times are read in the zone, and relative to the time, of the page that showed it.

    Hidden fields carry both, because the cookie may change and midnight may pass. Without them, the
    current zone and time apply.
    """

    zone = forms.CharField(required=False, widget=forms.HiddenInput, initial=lambda: current_name())
    shown_at = forms.CharField(
        required=False, widget=forms.HiddenInput, initial=lambda: timezone.now().isoformat()
    )

    def full_clean(self) -> None:
        """Validate all fields in the form's zone."""
        with timezone.override(self.shown_zone):
            super().full_clean()

    def clean_zone(self) -> str:
        """Return the name of the form's zone; refuse one that does not exist."""
        name: str = self.cleaned_data["zone"]
        if name and lookup(name) is None:
            raise ValidationError("zone: expected the name of a time zone, such as Europe/Paris.")
        return name

    def clean_shown_at(self) -> str:
        """Return when the form was shown, as it was sent; refuse what is no time of the last year."""
        text: str = self.cleaned_data["shown_at"]
        if text and _past(text) is None:
            raise ValidationError(
                "shown_at: expected a time of the last year, such as 2030-01-31T09:00+00:00."
            )
        return text

    @cached_property
    def shown_zone(self) -> Any:
        """The zone in which the form was shown; the current one for a new form."""
        return lookup(self._sent("zone")) or timezone.get_current_timezone()

    @cached_property
    def shown_time(self) -> datetime:
        """The time at which the form was shown; now for a new form."""
        return _past(self._sent("shown_at")) or timezone.now()

    def _sent(self, name: str) -> str:
        return self.data.get(self.add_prefix(name)) or "" if self.is_bound else ""


def lookup(name: str) -> ZoneInfo | None:
    """Return the zone with that name; None when there is none."""
    return _load(name) if 0 < len(name) <= MAX_NAME_LENGTH else None


def current_name() -> str:
    """Return the name by which `lookup` finds the current zone."""
    return str(timezone.get_current_timezone())


@lru_cache(maxsize=1000)
def _load(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        # A cookie is untrusted input.
        return None


def _past(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
        age = timezone.now() - time
    except (ValueError, TypeError):
        # It is no time, or one without an offset.
        return None
    return time if -MAX_CLOCK_SKEW <= age < MAX_PAGE_AGE else None
