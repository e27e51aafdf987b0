"""Keep what a person sent by POST, for the page that a redirect leads to: no answer to a POST is a page.

A form that was sent after the end of a session stays in the browser's new session. A signed field names the
user who was shown the form; only that user gets it back. Nothing is done before the form is sent once more.
Everything else stays in the cache, under its user. Both are kept for an hour.
"""

import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import wraps
from typing import Any

from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.core import signing
from django.core.cache import cache
from django.http import HttpRequest, HttpResponseRedirect, QueryDict
from django.http.response import HttpResponseBase
from django.urls import reverse

from fleetprompt.tenants.context import active_schema

OWNER = "form_owner"
"""The field with the user to whom a form was shown."""
PARAMETER = "kept"
"""The parameter that names a kept form."""
KEPT_SECONDS = 3600
MAX_KEPT = 5
"""The most forms of one browser that wait for a log-in."""
MAX_PER_USER = 50
"""The most forms of one user in the cache; the oldest ones go first."""

_SESSION_KEY = "kept_forms"
_SALT = "fleetprompt.kept_forms"
_TOKEN = re.compile(r"[\w-]{22}", re.ASCII)


class Gone(Exception):
    """The form that an address names is kept no longer, or is another user's."""


class Why(StrEnum):
    """The reason for which a form is kept."""

    LATE = "late"
    """It was sent after the end of the session."""
    CHOSEN = "chosen"
    """It says what the next form is about; nothing has been filled in yet."""
    SENT = "sent"
    """It was filled in, and the answer is the same form again."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A form as it was sent.

    Args:
        fields: what was filled in.
        why: the reason for which it is kept.
        problems: what was found wrong with it, besides what checking it again finds.
    """

    fields: QueryDict
    why: Why
    problems: Sequence[str] = ()


def owner(user: Any) -> str:
    """Return the signed value of the hidden field `OWNER`, for a user."""
    return signing.dumps([active_schema(), str(user.pk)], salt=_SALT)


def keeping(site: Any, view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Return a view for a site's staff that keeps what is posted to it after the session's end."""
    inner = site.admin_view(view)

    @wraps(view)
    def keep(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method == "POST" and not request.user.is_authenticated and (to := _owner(request)):
            token = _keep_in_session(request, to)
            return redirect_to_login(f"{request.path}?{PARAMETER}={token}", reverse("admin:login"))
        answer: HttpResponseBase = inner(request, *args, **kwargs)
        return answer

    return keep


def lead_to(
    url: str, request: HttpRequest, fields: QueryDict, why: Why, problems: Sequence[str] = ()
) -> HttpResponseRedirect:
    """Keep fields, and redirect to the page at `url` (without parameters), which `restore`s them."""
    token = secrets.token_urlsafe(16)
    form = {"path": url, "fields": _plain(fields), "why": why, "problems": list(problems)}
    user = request.user.pk
    known = [*cache.get(_index(user), []), token]
    cache.delete_many([_key(user, old) for old in known[:-MAX_PER_USER]])
    cache.set(_index(user), known[-MAX_PER_USER:], KEPT_SECONDS)
    cache.set(_key(user, token), form, KEPT_SECONDS)
    return HttpResponseRedirect(f"{url}?{PARAMETER}={token}")


def restore(request: HttpRequest) -> Kept | None:
    """Return the form that the address of a GET names; None when it names none.

    Raises:
        Gone: there is no such form any more, or it was shown to another user.
    """
    if request.method != "GET" or PARAMETER not in request.GET:
        return None
    token = request.GET[PARAMETER]
    form = _of_session(request, token)
    if not form and _TOKEN.fullmatch(token):
        form = cache.get(_key(request.user.pk, token))
    if not form or form["path"] != request.path:
        raise Gone
    return Kept(QueryDict(form["fields"]), Why(form["why"]), form["problems"])


def tell(request: HttpRequest, kept: Kept | None) -> None:
    """Tell the user why the page shows what they filled in before."""
    if kept and kept.why == Why.LATE:
        text = "Your session had ended, so nothing was done. Check what you filled in, and send it again."
        messages.warning(request, text)


def start_again(request: HttpRequest, url: str) -> HttpResponseRedirect:
    """Redirect from a form that is `Gone` to the page at `url`, and say why."""
    messages.warning(
        request,
        "What you chose or filled in is kept for an hour, for you alone. Choose again; nothing was done.",
    )
    return HttpResponseRedirect(url)


def _owner(request: HttpRequest) -> list[str] | None:
    """Return the schema and user whom the posted form was shown to; None when it is not one of ours."""
    try:
        found: list[str] = signing.loads(request.POST.get(OWNER, ""), salt=_SALT)
    except signing.BadSignature:
        return None
    return found


def _keep_in_session(request: HttpRequest, to: list[str]) -> str:
    token = secrets.token_urlsafe(16)
    form = {
        "owner": to,
        "path": request.path,
        "fields": _plain(request.POST),
        "at": time.time(),
        "why": Why.LATE,
        "problems": [],
    }
    waiting = {
        key: known for key, known in request.session.get(_SESSION_KEY, {}).items() if not _is_old(known)
    }
    request.session[_SESSION_KEY] = {**dict([*waiting.items()][1 - MAX_KEPT :]), token: form}
    return token


def _of_session(request: HttpRequest, token: str) -> Mapping[str, Any] | None:
    form: Mapping[str, Any] | None = request.session.get(_SESSION_KEY, {}).get(token)
    expected = [active_schema(), str(request.user.pk)]
    return form if form and form["owner"] == expected and not _is_old(form) else None


def _plain(fields: QueryDict) -> str:
    """Return fields as they are kept, without what belongs to one page alone."""
    kept = fields.copy()
    for name in (OWNER, "csrfmiddlewaretoken"):
        kept.pop(name, None)
    return kept.urlencode()


def _is_old(form: Mapping[str, Any]) -> bool:
    return bool(time.time() - form["at"] > KEPT_SECONDS)


def _key(user: Any, token: str) -> str:
    return f"kept_form:{user}:{token}"


def _index(user: Any) -> str:
    return f"kept_forms:{user}"
