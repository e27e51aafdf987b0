"""The addresses of the pages about directives that are no list and no single record."""

from functools import partial
from typing import Any

from django.urls import URLPattern, path, register_converter

from directives.admin import batch, detail, operating, requesting
from fleetprompt.web import kept_forms


class _AnyText:
    """A part of an address that may be any text: with slashes, and in more than one line."""

    regex = r"[\s\S]+"
    to_python = to_url = staticmethod(str)


register_converter(_AnyText, "text")


def patterns(site: Any) -> list[URLPattern]:
    """Return the pages, for everybody who may enter `site`."""
    view, form = site.admin_view, partial(kept_forms.keeping, site)
    pages = [
        ("request/<str:name>/", form(requesting.request_one_type), "request_type"),
        ("request/", view(requesting.choose), "request"),
        ("pick/<str:subject_type>/", view(requesting.pick), "pick"),
        ("batch/<text:correlation_id>/", view(batch.show), "batch"),
        ("<uuid:pk>/undo/", view(requesting.undo), "undo"),
        ("<uuid:pk>/live/", view(detail.live), "live"),
        ("operate/<str:slug>/", form(operating.question), "operate"),
        ("operate/<str:slug>/<uuid:token>/", view(operating.answer), "operated"),
    ]
    return [path(route, page, name=f"directives_directive_{name}") for route, page, name in pages]
