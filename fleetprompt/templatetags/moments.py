"""Template filters for times in the user's zone, with the exact time on hover."""

from datetime import datetime, timedelta

from django import template
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()

_UNITS = ((365 * 86400, "y"), (86400, "d"), (3600, "h"), (60, "min"))


@register.filter
def moment(value: datetime | None) -> SafeString | str:
    """Render a time as `24 Nov, 16:04:19`; hovering shows year, fraction and zone.

    What has no form in the person's zone is rendered as it is: a time without a zone, and one at the
    ends of the calendar.
    """
    if value is None:
        return "–"
    if (local := _local(value)) is None:
        return str(value)
    same_year = local.year == timezone.localtime().year
    return _time(local, date_format(local, "j M, H:i:s" if same_year else "j M Y, H:i"))


@register.filter
def ago(value: datetime | None) -> SafeString | str:
    """Render a time as its distance from now, `3 min ago` or `in 2 h`; hovering shows the exact one.

    `fleetprompt/admin.js` keeps the distance up to date while the page is open.
    """
    if value is None:
        return "–"
    if (local := _local(value)) is None:
        return str(value)
    seconds = (timezone.now() - value).total_seconds()
    return _time(local, _relative(seconds), f"{seconds:.1f}")


@register.filter
def span(value: timedelta | float | None) -> str:
    """Render a length of time by its largest unit: `12 ms`, `1.4 s`, `3 min`, `2 h`, `5 d`, `11 y`."""
    if value is None:
        return "–"
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    if seconds >= 10 or seconds <= 0:
        return f"{int(seconds)} s"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{round(seconds * 1000)} ms"


def _relative(age_seconds: float) -> str:
    """Return an age in words, negative for what is to come; as `relative` in fleetprompt/admin.js."""
    whole = int(abs(age_seconds))
    if not whole:
        return "now"
    text = span(whole) if whole >= 60 else f"{whole} s"
    return f"{text} ago" if age_seconds > 0 else f"in {text}"


@register.simple_tag
def now_moment() -> SafeString | str:
    """Render the present time as `moment` does."""
    return moment(timezone.now())


def _local(value: datetime) -> datetime | None:
    """Return a time in the person's zone; None when it cannot be said in it."""
    try:
        return timezone.localtime(value)
    except (ValueError, OverflowError):
        return None


def _time(local: datetime, text: str, age_seconds: str = "") -> SafeString:
    exact = f"{local:%Y-%m-%d %H:%M:%S}.{local.microsecond // 1000:03d} {local:%Z}"
    return format_html(
        '<time datetime="{}" title="{}"{}>{}</time>',
        local.isoformat(timespec="milliseconds"),
        exact,
        # The age, since a person's clock may be wrong. No live region tells each second of it.
        format_html(' data-age="{}" aria-live="off"', age_seconds) if age_seconds else "",
        text,
    )
