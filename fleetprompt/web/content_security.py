"""Content security policies: the scripts, styles and images that pages may load."""

from typing import Any

from csp.constants import NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE

# Inline styles are allowed: they load nothing, and error pages must work without static files.
READING: dict[str, Any] = {
    "default-src": [NONE],
    "style-src": [SELF, UNSAFE_INLINE],
    "img-src": [SELF, "data:"],
    "font-src": [SELF],
    "form-action": [SELF],
    "base-uri": [NONE],
    "frame-ancestors": [NONE],
}
"""The default and that of readers' pages: no scripts."""

ADMIN: dict[str, Any] = {
    # Alpine.js, which the admin needs, compiles the expressions in attributes.
    "script-src": [SELF, UNSAFE_EVAL],
    "connect-src": [SELF],
}
"""Additions for the admin sites: our own script files, no inline scripts."""
