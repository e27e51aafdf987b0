"""`directives.display` for templates. Imports no admin module: unfold loads tags while it is imported."""

from django import template
from django.utils.safestring import SafeString

from directives import display
from directives.json_html import json_html
from directives.models import Directive
from fleetprompt.counts import COUNTED

register = template.Library()

register.filter("label", display.label)
register.filter("signal_icon", display.signal_icon)
register.filter("signal_url", display.signal_url)
register.filter("directive_url", display.directive_url)
register.filter("batch_url", display.batch_url)
register.filter("record_url", display.record_url)
register.filter("record_title", display.record_title)
register.filter("look_badge", display.badge)
register.filter("json_html", json_html)
register.simple_tag(display.subject_link, name="subject_link")


@register.filter
def status_badge(directive: Directive) -> SafeString:
    """Render the directive's status as a symbol and a word."""
    return display.badge(display.look(directive))


@register.filter
def capped(count: int | None) -> str:
    """Render a count that stops behind `COUNTED`: `7`, `1,204`, `10,000+`; `–` when it is unknown."""
    if count is None:
        return "–"
    return f"{COUNTED:,}+" if count > COUNTED else f"{count:,}"
