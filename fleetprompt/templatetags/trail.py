"""Breadcrumbs of an admin page: the links above it."""

from typing import Any, NamedTuple

from django import template
from django.contrib.admin.templatetags.admin_urls import add_preserved_filters
from django.contrib.admin.utils import quote
from django.urls import NoReverseMatch, reverse

register = template.Library()


class Step(NamedTuple):
    """A page above the present one."""

    title: str
    url: str


@register.simple_tag(takes_context=True)
def trail(context: template.RequestContext) -> list[Step]:
    """Return the pages above this one, the outermost first: the app, the list with its filters, the record.

    An app whose only list has its own name is left out.
    """
    if (opts := context.get("opts")) is None:
        return []
    app, plural = str(opts.app_config.verbose_name), str(opts.verbose_name_plural)
    steps = []
    if app.casefold() != plural.casefold():
        steps.append(Step(app, reverse("admin:app_list", args=[opts.app_label])))
    if context.get("cl"):
        return steps
    name = f"admin:{opts.app_label}_{opts.model_name}"
    steps.append(Step(plural[:1].upper() + plural[1:], _with_filters(context, f"{name}_changelist")))
    record: Any = context.get("object") or context.get("original")
    if record is not None and not isinstance(record, str):
        url = _with_filters(context, f"{name}_change", quote(record.pk))
        if url.partition("?")[0] != context["request"].path:
            steps.append(Step(str(record), url))
    return [step for step in steps if step.url]


def _with_filters(context: template.RequestContext, name: str, *arguments: Any) -> str:
    """Return the address of a page; nothing where there is none."""
    try:
        return str(add_preserved_filters(context, reverse(name, args=arguments)))
    except NoReverseMatch:
        return ""
