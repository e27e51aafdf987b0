"""Keep a form that was posted after the end of its session, and show it again after the log-in.

It stays in the browser's new session for an hour. A signed field names the user who was shown the form;
only that user gets it back. Nothing is done before the form is sent once more.
"""

import secrets
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.core import signing
from django.http import Http404, HttpRequest, QueryDict
from django.http.response import HttpResponseBase
from django.urls import reverse

from fleetprompt.tenants.context import active_schema

OWNER = "form_owner"
"""The field with the user to whom a form was shown."""
PARAMETER = "kept"
"""The parameter that names a kept form."""
KEPT_SECONDS = 3600
MAX_KEPT = 5
"""How many forms are kept in a session."""

_SESSION_KEY = "kept_forms"
_SALT = "fleetprompt.kept_forms"


def owner(user: Any) -> str:
    """Return the signed value of the hidden field `OWNER`, for a user."""
    return signing.dumps([active_schema(), str(user.pk)], salt=_SALT)


def keeping(site: Any, view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Return a view for a site's staff that keeps what is posted to it after the session's end."""
    inner = site.admin_view(view)

    @wraps(view)
    def keep(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method == "POST" and not request.user.is_authenticated and (to := _owner(request)):
            token = _keep(request, to)
            return redirect_to_login(f"{request.path}?{PARAMETER}={token}", reverse("admin:login"))
        answer: HttpResponseBase = inner(request, *args, **kwargs)
        return answer

    return keep


def restore(request: HttpRequest) -> QueryDict | None:
    """Return the form that the address of a GET names; None when it names none.

    Raises:
        Http404: there is no such form any more, or it was shown to another user.
    """
    if request.method != "GET" or PARAMETER not in request.GET:
        return None
    form = request.session.get(_SESSION_KEY, {}).get(request.GET[PARAMETER])
    expected = [active_schema(), str(request.user.pk)]
    if not form or form["owner"] != expected or form["path"] != request.path or _is_old(form):
        raise Http404("what was filled in before a log-in is kept for an hour, for the one who did it")
    return QueryDict(form["fields"])


def tell(request: HttpRequest) -> None:
    """Tell the user why the page shows what they filled in before."""
    messages.warning(
        request, "Your session had ended, so nothing was done. Check what you filled in, and send it again."
    )


def _owner(request: HttpRequest) -> list[str] | None:
    """Return the schema and user whom the posted form was shown to; None when it is not one of ours."""
    try:
        found: list[str] = signing.loads(request.POST.get(OWNER, ""), salt=_SALT)
    except signing.BadSignature:
        return None
    return found


def _keep(request: HttpRequest, to: list[str]) -> str:
    token = secrets.token_urlsafe(16)
    fields = request.POST.copy()
    for name in (OWNER, "csrfmiddlewaretoken"):
        fields.pop(name, None)
    form = {"owner": to, "path": request.path, "fields": fields.urlencode(), "at": time.time()}
    waiting = {
        key: known for key, known in request.session.get(_SESSION_KEY, {}).items() if not _is_old(known)
    }
    request.session[_SESSION_KEY] = {**dict([*waiting.items()][1 - MAX_KEPT :]), token: form}
    return token


def _is_old(form: dict[str, Any]) -> bool:
    return bool(time.time() - form["at"] > KEPT_SECONDS)
