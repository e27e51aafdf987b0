"""Recognises what looks like a secret, so that it never enters a payload that many people read."""

import re
from collections.abc import Mapping
from functools import lru_cache

_WORDS = frozenset({"password", "passwd", "passphrase", "secret", "token", "authorization", "credential"})
_JOINED = ("apikey", "privatekey", "accesskey", "secretkey", "signingkey", "sessionid", "authheader")
_VALUES = {
    "a private key": re.compile(r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY"),
    "a cloud access key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bAIza[0-9A-Za-z_-]{35}"),
    "an access token": re.compile(
        r"\bgh[pousr]_[0-9A-Za-z]{36}|\bgithub_pat_\w{22,}|\bglpat-[\w-]{20}|\bxox[abeoprs]-[\w-]{10,}"
        r"|\bsk_live_[0-9A-Za-z]{16,}|\bsk-(?:[a-z]+-)*[0-9A-Za-z_-]{32,}"
    ),
    "a signed token": re.compile(r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"),
    "an authorization header": re.compile(r"\b(?:Bearer|Basic(?= \S*\d)) [\w+/.=~-]{20,}"),
    "a URL with a password": re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/:@]+:[^\s/@]+@", re.IGNORECASE),
}
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def find_secret(field: str, value: object) -> str | None:
    """Return a sentence about the first thing in `value` that looks like a secret, or None.

    Field names are judged by their words, so `api_key` and `accessToken` are refused and `keyboard`
    is not; texts by the marks of well-known kinds of keys. The sentence never repeats the value.

    Args:
        field: how to call `value` in the sentence.
        value: JSON: dictionaries, lists and scalars, nested at will.
    """
    if isinstance(value, str):
        for kind, pattern in _VALUES.items():
            if pattern.search(value):
                return f"{field}: expected no secret; it looks like {kind}"
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if _is_secret_name(str(key)):
                return f"{field}.{key}: expected no field whose name says that it holds a secret"
            if found := find_secret(f"{field}.{key}", item):
                return found
    elif isinstance(value, list | tuple):
        items = (find_secret(f"{field}[{index}]", item) for index, item in enumerate(value))
        return next(filter(None, items), None)
    return None


@lru_cache(maxsize=256)
def _is_secret_name(name: str) -> bool:
    words = re.split(r"[^a-z0-9]+", _CAMEL.sub("_", name).lower())
    joined = "".join(words)
    return any(word.removesuffix("s") in _WORDS or word in _WORDS for word in words) or any(
        part in joined for part in _JOINED
    )
