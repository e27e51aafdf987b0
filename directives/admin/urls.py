"""The addresses of the pages about directives that are no list and no single record."""

from typing import Any

from django.urls import URLPattern, path, register_converter

from directives.admin import batch, requesting
from fleetprompt.web import kept_forms


class _AnyText:
    """A part of an address that may be any text: with slashes, and in more than one line."""

    regex = r"[\s\S]+"
    to_python = to_url = staticmethod(str)


register_converter(_AnyText, "text")


def patterns(site: Any) -> list[URLPattern]:
    """Return the pages for requesting, for everybody who may enter `site`."""
    pages = [
        ("request/", requesting.choose, "request"),
        ("pick/<str:subject_type>/", requesting.pick, "pick"),
        ("batch/<text:correlation_id>/", batch.show, "batch"),
        ("<uuid:pk>/undo/", requesting.undo, "undo"),
    ]
    form = kept_forms.keeping(site, requesting.request_one_type)
    return [
        path("request/<str:name>/", form, name="directives_directive_request_type"),
        *(
            path(route, site.admin_view(view), name=f"directives_directive_{name}")
            for route, view, name in pages
        ),
    ]
