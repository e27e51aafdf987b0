"""Keep what a person sent by POST, for the page that a redirect leads to: no answer to a POST is a page.

All stays in the cache, under its user, for an hour. Nothing is done before the form is sent once more. Of
a form that was sent after the end of a session, a signed field names the user who was shown it; only that
user gets it back, in the same browser.
"""

import re
import secrets
from collections.abc import Callable, Sequence
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
MAX_BYTES_PER_USER = 5_000_000
"""The most that the forms of one user take in the cache, besides the newest; the oldest ones go first."""

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
    """A form as it was sent, and what was found wrong with it besides what checking it again finds."""

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
        if request.method == "POST" and not request.user.is_authenticated and (user := _owner(request)):
            token = _keep(user, request.path, request.POST, Why.LATE)
            # Log-in keeps what the session of an anonymous browser has.
            known = request.session.get(_SESSION_KEY, [])
            request.session[_SESSION_KEY] = [*known, token][-MAX_KEPT:]
            return redirect_to_login(f"{request.path}?{PARAMETER}={token}", reverse("admin:login"))
        answer: HttpResponseBase = inner(request, *args, **kwargs)
        return answer

    return keep


def lead_to(
    url: str, request: HttpRequest, fields: QueryDict, why: Why, problems: Sequence[str] = ()
) -> HttpResponseRedirect:
    """Keep fields, and redirect to the page at `url` (without parameters), which `restore`s them."""
    token = _keep(request.user.pk, url, fields, why, problems)
    return HttpResponseRedirect(f"{url}?{PARAMETER}={token}")


def restore(request: HttpRequest) -> Kept | None:
    """Return the form that the address of a GET names; None when it names none.

    Raises:
        Gone: there is no such form any more, or it was shown to another user.
    """
    if request.method != "GET" or PARAMETER not in request.GET:
        return None
    token = request.GET[PARAMETER]
    form = cache.get(_key(request.user.pk, token)) if _TOKEN.fullmatch(token) else None
    if not form or form["path"] != request.path:
        raise Gone
    if form["why"] == Why.LATE and token not in request.session.get(_SESSION_KEY, []):
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


def _owner(request: HttpRequest) -> str | None:
    """Return the user whom the posted form was shown to; None when it is not one of this site's."""
    try:
        schema, user = signing.loads(request.POST.get(OWNER, ""), salt=_SALT)
    except signing.BadSignature:
        return None
    return str(user) if schema == active_schema() else None


def _keep(user: Any, path: str, fields: QueryDict, why: Why, problems: Sequence[str] = ()) -> str:
    """Keep fields, without what belongs to one page alone, and return the token that names them."""
    token = secrets.token_urlsafe(16)
    kept = fields.copy()
    for name in (OWNER, "csrfmiddlewaretoken"):
        kept.pop(name, None)
    form = {"path": path, "fields": kept.urlencode(), "why": why, "problems": list(problems)}
    cache.set(_key(user, token), form, KEPT_SECONDS)
    _make_room(user, token, len(form["fields"]) + sum(map(len, problems)))
    return token


def _make_room(user: Any, token: str, size: int) -> None:
    """Note the size of a user's newest form, and delete the oldest ones beyond the limits."""
    known = [*cache.get(_index(user), []), (token, size)]
    sizes = [size for _, size in known]
    while len(sizes) > MAX_PER_USER or (len(sizes) > 1 and sum(sizes) > MAX_BYTES_PER_USER):
        del sizes[0]
    cache.delete_many([_key(user, old) for old, _ in known[: -len(sizes)]])
    cache.set(_index(user), known[-len(sizes) :], KEPT_SECONDS)


def _key(user: Any, token: str) -> str:
    return f"kept_form:{user}:{token}"


def _index(user: Any) -> str:
    return f"kept_form_sizes:{user}"
