"""Pages of the operators' hosts outside the admin: the index and the probes."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from fleetprompt.health import readiness


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """Show the index of this host."""
    return HttpResponse(
        "FleetPrompt operators' host. Admin: /admin/. Probes: /healthz, /readyz. Each community is served "
        "on its own host: see `manage.py tenant list`.\n",
        content_type="text/plain; charset=utf-8",
    )


@require_safe
@never_cache
def healthz(request: HttpRequest) -> JsonResponse:
    """Answer 200 as long as this process answers at all."""
    return JsonResponse({"status": "ok"})


@require_safe
@never_cache
def readyz(request: HttpRequest) -> JsonResponse:
    """Answer 200 when all parts of readiness hold, and 503 with the reasons otherwise."""
    reasons = readiness.look()
    parts = {name: {"ok": not reason, "reason": reason} for name, reason in reasons.items()}
    if any(reasons.values()):
        return JsonResponse({"status": "unavailable", "parts": parts}, status=503)
    return JsonResponse({"status": "ok", "parts": parts})
