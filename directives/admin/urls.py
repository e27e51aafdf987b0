"""The addresses of the pages about directives that are no list and no single record."""

from typing import Any

from django.urls import URLPattern, path

from directives.admin import batch, kept_forms, requesting


def patterns(site: Any) -> list[URLPattern]:
    """Return the pages for requesting, for everybody who may enter `site`."""
    pages = [
        ("request/", requesting.choose, "request"),
        ("pick/<str:subject_type>/", requesting.pick, "pick"),
        ("batch/<path:correlation_id>/", batch.show, "batch"),
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
