"""Secrets that the scan finds, and similar text that it must not report."""

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetprompt.secret_scan import find_secret

SECRET_NAMES = [
    "password", "Passwords", "db_password", "userPassword", "passphrase", "secret", "client_secret",
    "passwd", "token", "tokens", "accessToken", "refresh-token", "authorization", "Authorization",
    "credentials", "api_key", "apiKey", "API-KEY", "X-Api-Key", "private_key", "accessKeyId",
    "aws_secret_access_key",
]  # fmt: skip
PLAIN_NAMES = [
    "keyboard", "key", "idempotency_key", "tokenizer", "secretary", "author", "authorized_by", "passage",
    "post_id", "monkey", "passport_office", "session", "content",
]  # fmt: skip
SECRET_VALUES = [
    "-----BEGIN PRIVATE KEY-----\nMIIE",
    "-----BEGIN OPENSSH PRIVATE KEY-----",
    "aws AKIA" + "ABCDEFGHIJKLMNOP" + ".",
    "AIza" + "a" * 35,
    "ghp_" + "a" * 36,
    "github_pat_" + "a" * 22,
    "glpat-" + "a" * 20,
    "xoxb-" + "1" * 12,
    "sk_live_" + "a" * 24,
    "sk-proj-" + "a" * 40,
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlMTIz",
    "Authorization: Bearer " + "a" * 20,
    "Basic " + "dXNlcjpwYXNzd29yZDEyMw==",
    "postgresql://ann:hunter2@db/forum",
]
PLAIN_VALUES = [
    "hello",
    "I lost my password",
    "Bearer of bad news",
    "the token economy",
    "https://example.org/a?b=c",
    "mail ann@example.org",
    "-----BEGIN CERTIFICATE-----",
    "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b",
    "ask-me-anything-about-the-weather-today",
    "see http://example.org:8080/@ann",
]


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_field_named_like_a_secret_is_found(name):
    assert find_secret("payload", {name: "x"}).startswith(f"payload.{name}: ")


@pytest.mark.parametrize("name", PLAIN_NAMES)
def test_a_field_that_only_sounds_like_one_is_not(name):
    assert find_secret("payload", {name: "x"}) is None


@pytest.mark.parametrize("value", SECRET_VALUES)
def test_a_value_that_looks_like_a_secret_is_found_and_not_repeated(value):
    finding = find_secret("payload", {"content": f"here: {value} !"})
    assert finding.startswith("payload.content: ")
    assert value not in finding


@pytest.mark.parametrize("value", PLAIN_VALUES)
def test_a_harmless_value_is_not(value):
    assert find_secret("payload", {"content": value}) is None


TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(PLAIN_VALUES),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(PLAIN_NAMES), inner, max_size=3)
    ),
    max_leaves=10,
)
PATHS = st.lists(st.sampled_from([*PLAIN_NAMES[:4], 0, 1]), max_size=5)


def bury(tree, path, value):
    """Put the value into the tree under the path; return the tree and the name of the place."""
    if not path:
        return value, ""
    inner, name = bury(tree, path[1:], value)
    if isinstance(path[0], int):
        return [tree] * path[0] + [inner], f"[{path[0]}]{name}"
    return {"content": tree, path[0]: inner}, f".{path[0]}{name}"


@given(tree=TREES, path=PATHS, value=st.sampled_from(SECRET_VALUES))
def test_a_secret_is_found_however_deep_it_is_and_its_place_is_named(tree, path, value):
    buried, name = bury(tree, path, value)
    assert find_secret("payload", tree) is None
    assert find_secret("payload", buried).startswith(f"payload{name}: ")


@given(
    prefix=st.sampled_from(["", "my_", "db-", "x."]),
    word=st.sampled_from(["password", "token", "apiKey", "client_secret"]),
    suffix=st.sampled_from(["", "_2", "-old", ".value"]),
)
def test_a_secret_name_is_found_among_other_words(prefix, word, suffix):
    assert find_secret("payload", {f"{prefix}{word}{suffix}": None})


@given(st.text(string.ascii_letters + string.digits + " .,:/@-_", max_size=200))
def test_looking_never_fails_and_says_the_same_of_equal_json(text):
    value = {"content": text}
    assert find_secret("payload", value) == find_secret("payload", json.loads(json.dumps(value)))
