"""Pages of the operators' hosts."""

from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """Say what this host is and where to go."""
    return HttpResponse(
        "FleetPrompt operators' host. Admin: /admin/. Health: /health/. Each community is served on "
        "its own host: see `manage.py tenant list`.\n",
        content_type="text/plain; charset=utf-8",
    )


@require_safe
def health(request: HttpRequest) -> JsonResponse:
    """Answer 200 when the database answers, 503 when it does not."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return JsonResponse({"database": "unreachable"}, status=503)
    return JsonResponse({"database": "ok"})
