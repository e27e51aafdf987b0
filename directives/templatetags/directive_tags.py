"""Labels for templates. Imports no admin module: unfold loads tags while it is imported."""

from django import template

from directives.display import labels
from directives.display.json_html import json_html
from fleetprompt.web.limits import COUNTED

register = template.Library()

register.filter("label", labels.label)
register.filter("counted_label", labels.counted_label)
register.filter("signal_icon", labels.signal_icon)
register.filter("record_url", labels.record_url)
register.filter("record_title", labels.record_title)
register.filter("look_badge", labels.badge)
register.filter("status_badge", labels.status_badge)
register.filter("json_html", json_html)
register.simple_tag(labels.subject_link, name="subject_link")


@register.filter
def capped(count: int | None) -> str:
    """Render a count that stops behind `COUNTED`: `7`, `1,204`, `10,000+`; `–` when it is unknown."""
    if count is None:
        return "–"
    return f"{COUNTED:,}+" if count > COUNTED else f"{count:,}"
