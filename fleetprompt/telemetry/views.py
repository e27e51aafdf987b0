"""View of the metrics, `/metrics` on the operators' hosts."""

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from fleetprompt.telemetry import exposition, metrics


@require_safe
def show(request: HttpRequest) -> HttpResponse:
    """Answer with this machine's metrics; 404 when they are off or the reader is not authorised.

    Without a token only development answers: in production a local proxy may forward any reader.
    """
    status = exposition.refusal(request.META, trusts_peers=settings.DEBUG) if metrics.is_on() else 404
    if status == 404:
        raise Http404
    if status:
        headers = {"WWW-Authenticate": "Bearer"}
        return HttpResponse("401 Unauthorized\n", "text/plain", status=status, headers=headers)
    body, content_type = exposition.render(request.headers.get("Accept", ""))
    return HttpResponse(body, content_type)
