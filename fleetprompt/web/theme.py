"""Theme of the two admin sites: django-unfold's settings."""

from typing import Any

from django.templatetags.static import static

# A calm blue: white text on it, and it on white, both have a contrast above 4.5 to 1.
_PRIMARY = {
    "50": "oklch(97% .014 254.604)",
    "100": "oklch(93.2% .032 255.585)",
    "200": "oklch(88.2% .059 254.128)",
    "300": "oklch(80.9% .105 251.813)",
    "400": "oklch(70.7% .165 254.624)",
    "500": "oklch(54.6% .215 262.881)",
    "600": "oklch(48.8% .220 264.376)",
    "700": "oklch(45% .20 265.638)",
    "800": "oklch(39.9% .175 265.522)",
    "900": "oklch(34.9% .146 265.522)",
    "950": "oklch(28.2% .091 267.935)",
}
_COMMON: dict[str, Any] = {
    "COLORS": {
        "primary": _PRIMARY,
        # A shade darker than unfold's, for the contrast of small text.
        "font": {
            "subtle-light": "var(--color-base-600)",
            "subtle-dark": "var(--color-base-300)",
            "default-light": "var(--color-base-700)",
            "default-dark": "var(--color-base-200)",
            "important-light": "var(--color-base-900)",
            "important-dark": "var(--color-base-100)",
        },
    },
    "BORDER_RADIUS": "6px",
    "SHOW_HISTORY": False,
    "STYLES": [lambda request: static("fleetprompt/admin.css")],
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("fleetprompt/favicon.svg")}
    ],
    "SCRIPTS": [lambda request: static("fleetprompt/admin.js")],
    "SIDEBAR": {"navigation": "fleetprompt.sites.navigation"},
    "DASHBOARD_CALLBACK": "fleetprompt.sites.index_context",
}

TENANT: dict[str, Any] = {**_COMMON, "SITE_SYMBOL": "forum", "SITE_SUBHEADER": "Moderation"}
OPERATORS: dict[str, Any] = {**_COMMON, "SITE_SYMBOL": "hub", "SITE_SUBHEADER": "Operators"}
