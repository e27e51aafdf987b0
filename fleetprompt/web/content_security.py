"""Which scripts, styles and pictures a browser may use on our pages: the content security policies."""

from typing import Any

from csp.constants import NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE

# Styles alone may stand in the page: they load nothing from elsewhere, and the error pages, which must
# be shown whatever is broken, have theirs in them.
READING: dict[str, Any] = {
    "default-src": [NONE],
    "style-src": [SELF, UNSAFE_INLINE],
    "img-src": [SELF, "data:"],
    "font-src": [SELF],
    "form-action": [SELF],
    "base-uri": [NONE],
    "frame-ancestors": [NONE],
}
"""Of pages for readers, and of everything that does not say otherwise: no script at all."""

ADMIN: dict[str, Any] = {
    # Alpine.js, which the admin's pages need, makes functions of the expressions in their attributes.
    "script-src": [SELF, UNSAFE_EVAL],
    "connect-src": [SELF],
}
"""What the pages of the two admin sites have besides: our own script files, and no script in the page."""
