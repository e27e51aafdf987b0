"""Middleware that gives each request an id for the log."""

import re
from collections.abc import Callable
from uuid import uuid4

from django.http import HttpRequest, HttpResponse

from fleetprompt.telemetry import context

HEADER = "X-Request-ID"
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestMiddleware:
    """Gives a request its own id or a new one, and sends it back.

    It comes after `TenantMiddleware`.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer `request`; log lines carry its tenant and its id."""
        given = request.headers.get(HEADER, "")
        request_id = given if _ID.fullmatch(given) else uuid4().hex
        fields = {"tenant": str(getattr(request, "tenant", "")), "request": request_id}
        request.log_fields = fields  # type: ignore[attr-defined]
        with context.bound(**fields):
            response = self._get_response(request)
        response[HEADER] = request_id
        return response
