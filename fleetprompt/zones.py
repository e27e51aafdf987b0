"""In which time zone a person sees times: the browser's, which it tells in a cookie."""

from collections.abc import Callable
from functools import lru_cache
from urllib.parse import unquote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

COOKIE = "timezone"
"""Set by `fleetprompt/admin.js` to the browser's zone, such as `Europe/Paris`."""


class ZoneMiddleware:
    """Makes the browser's zone the current one for a request; the project's own when it is unknown."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer `request` in its zone."""
        with timezone.override(_zone(request.COOKIES.get(COOKIE, ""))):
            return self._get_response(request)


@lru_cache(maxsize=1000)
def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(unquote(name)) if name else None
    except (ValueError, OSError, ZoneInfoNotFoundError):
        # A cookie may say anything.
        return None
