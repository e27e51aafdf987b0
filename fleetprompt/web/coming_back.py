"""The way back to the page that a person came from, with its filters: the parameter `back`."""

from typing import NamedTuple

from django.http import QueryDict
from django.urls import Resolver404, resolve
from django.utils.http import url_has_allowed_host_and_scheme, urlencode

PARAMETER = "back"
MAX_URL_LENGTH = 2000
"""A longer one is left out: servers refuse long addresses."""


class Back(NamedTuple):
    """Where to go back, and what to call it."""

    url: str
    text: str


def url_of(given: QueryDict) -> str:
    """Return the address of the page that a person came from; empty when it is no page of this admin."""
    url = given.get(PARAMETER, "")
    return url if _page_name(url) else ""


def link(given: QueryDict, default: str = "") -> Back | None:
    """Return the way back to where a person came from, or else to `default`; None without either."""
    url = url_of(given) or default
    is_list = _page_name(url).endswith("_changelist")
    return Back(url, "Back to the list" if is_list else "Back") if url else None


def with_back(url: str, back: str) -> str:
    """Return an address that carries the way back along; `url` itself without one."""
    if not back or len(back) > MAX_URL_LENGTH:
        return url
    return f"{url}{'&' if '?' in url else '?'}{urlencode({PARAMETER: back})}"


def _page_name(url: str) -> str:
    """Return which page of this admin an address is; empty when it is none."""
    if len(url) > MAX_URL_LENGTH or not url_has_allowed_host_and_scheme(url, allowed_hosts=None):
        return ""
    try:
        match = resolve(url.partition("?")[0])
    except Resolver404:
        return ""
    # What is no page has no name: the admin answers every other address below its own with 404.
    return (match.url_name or "") if match.app_name == "admin" else ""
