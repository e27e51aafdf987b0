"""Middleware for all pages: refused addresses, response headers, hidden characters."""

import re
from collections.abc import Callable

from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse

from fleetprompt.visible import HIDDEN_CHARACTER, visible

_HEADERS = {
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
# A form must send back what it was given. Text elsewhere cannot look like a field: it is escaped.
_OUTSIDE_INPUTS = re.compile(
    f'(<textarea\\b.*?</textarea>|\\bvalue="[^"]*")|({HIDDEN_CHARACTER.pattern})', re.DOTALL
)


class Middleware:
    """Base of middleware classes."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response


class AddressMiddleware(Middleware):
    """Answers 400 to an address with a NUL, which PostgreSQL cannot even be asked about."""

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if "\0" in request.path or "%00" in request.META.get("QUERY_STRING", ""):
            raise BadRequest("the address contains a NUL")
        return self._get_response(request)


class HeadersMiddleware(Middleware):
    """Adds the security headers that Django does not set."""

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        return response


class VisibleMiddleware(Middleware):
    """Shows hidden characters in the pages of the admin.

    Pages for readers keep them: they isolate each text instead, so that it disguises nothing but itself.
    """

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        match = request.resolver_match
        is_admin = match is not None and match.app_name == "admin"
        if is_admin and not response.streaming and response.headers["Content-Type"].startswith("text/html"):
            page = response.content.decode(response.charset)
            if HIDDEN_CHARACTER.search(page):
                response.content = _OUTSIDE_INPUTS.sub(lambda found: found[1] or visible(found[2]), page)
        return response
