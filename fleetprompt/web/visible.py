"""Shows characters that nobody sees: what reverses a text, hides in it, or steers a terminal."""

import re
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

# Controls besides tab and line ends; zero-width characters without the joiners, which scripts and emoji
# need; line separators; embeddings, overrides and isolates (UAX #9); unpaired surrogates; tags.
_HIDDEN = (
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u180e\u200b\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff"
    "\U000e0000-\U000e007f"
)
# A line end of the web is two characters; the first alone would have a terminal write over the line.
_CHARACTER = re.compile(f"[{_HIDDEN}]|\r(?!\n)")
# What a form would send back has to stay what it is. Nobody else's text can look like this: it is escaped.
_OUTSIDE_INPUTS = re.compile(
    f'(<textarea\\b.*?</textarea>|\\bvalue="[^"]*")|({_CHARACTER.pattern})', re.DOTALL
)


def visible(text: str) -> str:
    """Return `text` with each hidden character as its number, such as `⟨U+202E⟩`."""
    return _CHARACTER.sub(lambda found: _mark(found[0]), text)


def _mark(character: str) -> str:
    return f"⟨U+{ord(character):04X}⟩"


class VisibleMiddleware:
    """Shows hidden characters in the pages of the admin, whoever wrote them and wherever they stand.

    Pages for readers keep them: they isolate each text instead, so that it disguises nothing but itself.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer with a page in which nothing is hidden."""
        response = self._get_response(request)
        match = request.resolver_match
        is_admin = match is not None and match.app_name == "admin"
        if is_admin and not response.streaming and response.headers["Content-Type"].startswith("text/html"):
            page = response.content.decode(response.charset)
            if _CHARACTER.search(page):
                response.content = _OUTSIDE_INPUTS.sub(lambda found: found[1] or _mark(found[2]), page)
        return response
