"""Addresses that no page has to be able to answer."""

from collections.abc import Callable

from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse


class AddressMiddleware:
    """Answers 400 to an address with a NUL, which PostgreSQL cannot even be asked about."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass on what can be a page's address.

        Raises:
            BadRequest: there is a NUL in the path or in the query.
        """
        if "\0" in request.path or "%00" in request.META.get("QUERY_STRING", ""):
            raise BadRequest("the address contains a NUL")
        return self._get_response(request)
