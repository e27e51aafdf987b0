"""Hypothesis strategies for hostile and malformed input, and the number of examples for each run."""

import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
"""Whether this run looks long and not twice at the same: `make fuzz`."""

MARKUP = (
    "<script>window.pwned = 1</script>",
    '"><img src=x onerror="window.pwned=1">',
    "' onmouseover='window.pwned=1",
    "javascript:window.pwned=1",
    '<div x-data x-init="window.pwned=1">',
    '<div hx-get="/" hx-trigger="load" hx-on::load="window.pwned=1">',
    "</textarea></title></style></script><svg onload=window.pwned=1>",
    "{{ request.session }}{% debug %}${7*7}",
    "[bold]loud[/bold][link=https://example.org]",
)
HIDDEN = (
    "annexe\u202etxt.exe",
    "\u2066left\u2067right\u2069",
    "zero\u200bwidth\ufeff\u2060",
    "שלום עולם مرحبا",
    "Z\u0351\u036b\u0343\u036a\u0302algo",
    "👩\u200d👩\u200d👧\u200d👦\U0001f3f4\U000e0067\U000e0062\U000e007f",
    "ring\x07\x1b[2J\x1b]0;title\x07\x9b31m",
    "over\rwritten\x0b\x0c\x85\u2028\u2029",
    "\ufdd0\uffff\U0010ffff",
)
BROKEN = ("nul\x00", "\ud800", "\udfff\ud800", "\udc80", "half\ud83d")
ODD = (
    "",
    " ",
    "\n",
    "0",
    "-0",
    "1e400",
    "NaN",
    "9" * 5000,
    "٣",
    "null",
    "__proto__",
    "constructor",
    "../../etc/passwd",
    "%00%0a%2e%2e",
    "' OR 1=1 --",
    "\\",
    "%s%n",
    "--help",
    "-",
    "A" * 70_000,
    "0001-01-01",
    "9999-12-31T23:59:59+14:00",
    "2024-02-30",
    "00000000000000000000000000000000",
    "{00000000-0000-0000-0000-000000000000}",
    "urn:uuid:00000000-0000-0000-0000-000000000000",
)

texts = st.one_of(
    st.sampled_from(MARKUP), st.sampled_from(HIDDEN), st.sampled_from(ODD), st.text(max_size=40)
)
"""What can be a text, however unpleasant."""
broken = st.one_of(st.sampled_from(BROKEN), texts)
"""What may be none, too."""
numbers = st.one_of(
    st.sampled_from(
        [0, -1, 2**31, 2**53, -(2**63), 2**64, 10**400, 1e308, -1e-320, -0.0, float("inf"), float("nan")]
    ),
    st.integers(),
    st.floats(),
)
scalars = st.one_of(st.none(), st.booleans(), numbers, broken)


def nested(depth: int, *, lists: bool) -> object:
    """Return a value with that many levels in it."""
    value: object = "deep"
    for _ in range(depth):
        value = [value] if lists else {"a": value}
    return value


deep = st.builds(nested, st.sampled_from([48, 49, 50, 51, 200, 900, 5000]), lists=st.booleans())
values = st.one_of(
    scalars,
    deep,
    st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(broken, inner, max_size=3)
    ),
)
"""Whatever a program may hand over as JSON."""


def examples(number: int) -> settings:
    """Return settings for so many examples; a long run tries twenty times as many, each time others."""
    return settings(
        max_examples=number * (20 if LONG else 1),
        derandomize=not LONG,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
