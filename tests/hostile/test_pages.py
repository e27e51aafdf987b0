"""Hostile addresses and forms for every page of both sites and of the forum: never a 5xx."""

import re
from html.parser import HTMLParser
from urllib.parse import quote
from uuid import UUID, uuid4

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.urls.converters import PathConverter
from hypothesis import given
from hypothesis import strategies as st

from directives import registry
from fleetprompt.tenants.context import in_tenant, return_to_public
from signals.models import Signal
from tests.accounts import host_of, make_user, within
from tests.hostile.strategies import HIDDEN, MARKUP, ODD, examples, texts
from tests.support import ask, make_forum

SITES = {"alpha": "fleetprompt.urls", "": "fleetprompt.urls_public"}
# A NUL is answered before any page; the others are in what a browser can send.
TEXTS = st.one_of(
    texts, st.sampled_from([*MARKUP, *HIDDEN, *ODD]), st.just("nul\x00"), st.binary(max_size=8)
)
ALWAYS = ("q", "o", "p", "e", "page", "term", "next", "subjects", "cause", "id", "_popup", "_to_field")
"""Names that pages may look at, besides those that stand in their forms and links."""
CONFIRMS = ("request", "dry_run")
NAMES = re.compile(r'\bname="([^"]+)"|[?;]([a-z_0-9]+)=')
ACTIONS = ("delete_selected", "snooze", "cancel", "rerun", "run", "forum.post.hide", "dry_run", "yes")


def routes(urlconf):
    """Return every page of a URL configuration: what its address is made of, texts and converters."""
    return list(_walk(get_resolver(urlconf).url_patterns, ()))


def _walk(patterns, before):
    for pattern in patterns:
        here = (*before, pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _walk(pattern.url_patterns, here)
        elif isinstance(pattern, URLPattern):
            yield here


def address(data, route, known):
    """Draw an address of a route: ids that exist, ids that do not, and what is no id."""
    path = "/"
    for part in route:
        text = getattr(part, "_route", None)
        if text is None:
            # The admin's own catch-alls and shortcuts are regular expressions.
            path += data.draw(st.sampled_from(["x/", "r/1/2/", "jsi18n/", "auth/"]))
            continue
        for name, converter in part.converters.items():
            key = "<" + name + ">"
            text = text.replace(f"<{_kind(converter)}:{name}>", key)
            if _kind(converter) == "uuid":
                value = data.draw(st.sampled_from([*(k for k in known if _is_uuid(k)), str(uuid4())]))
            else:
                value = data.draw(
                    st.sampled_from(known) | TEXTS.filter(lambda value: isinstance(value, str))
                )
                value = (
                    value[:2000] if isinstance(converter, PathConverter) else value[:2000].replace("/", "_")
                )
            text = text.replace(key, value or "x")
        path += text
    return path


def _kind(converter):
    return (
        type(converter)
        .__name__.removesuffix("Converter")
        .lower()
        .replace("string", "str")
        .replace("integer", "int")
    )


def _is_uuid(text):
    try:
        UUID(text)
    except ValueError:
        return False
    return True


class Site:
    """A site with something on it, visited by its most powerful user."""

    def __init__(self, slug):
        self.slug = slug
        self.user = make_user(slug, "rooty", is_superuser=True)
        self.client = Client(headers={"host": host_of(slug)}, raise_request_exception=False)
        self.is_logged_in = False
        self.routes = routes(SITES[slug])
        self.known = [str(self.user.pk), *(self._fill() if slug else [])]

    def _fill(self):
        with in_tenant(self.slug):
            forum = make_forum()
            directive = ask("forum.post.hide", {"post_id": str(forum.posts[0].pk)}).directive
            records = [forum.posts[1], forum.thread, forum.category, directive, Signal.objects.all()[0]]
            return [str(one.pk) for one in records] + [
                directive.correlation_id, "forum.post.hide", "forum.post.create", "forum.thread", "snooze"
            ]  # fmt: skip

    def visit(self, method, *arguments, **options):
        """Send a request and return the answer, which is no failure of ours."""
        if not self.is_logged_in:
            with within(self.slug):
                self.user.is_active = self.user.is_staff = self.user.is_superuser = True
                self.user.save()
                self.client.force_login(self.user, "django.contrib.auth.backends.ModelBackend")
        # Whatever is no GET may log out, or take the user's rights.
        self.is_logged_in = method == "get"
        answer = getattr(self.client, method)(*arguments, **options)
        return_to_public()
        # Without a cluster, 503 is what the probe has to say.
        is_probe = arguments[0].partition("?")[0] == "/readyz"
        assert answer.status_code < 500 or is_probe, (method, arguments)
        if "text/html" in answer.headers.get("Content-Type", ""):
            assert b"window.pwned" not in answer.content or is_harmless(answer.content.decode())
        return answer


def is_harmless(page):
    """Return whether no tag and no attribute in a page is one of the hostile texts'."""
    found = Elements()
    found.feed(page)
    return not found.hostile


class Elements(HTMLParser):
    """Looks for elements that hostile texts wanted to make."""

    hostile = False

    def handle_starttag(self, tag, attributes):
        """Note an element that comes from a hostile text."""
        for name, value in attributes:
            is_script = name.startswith(("on", "x-", "hx-on")) or (value or "").startswith("javascript:")
            self.hostile |= is_script and "pwned" in (value or "") and name != "value"

    def handle_data(self, data):
        """Note a script that comes from a hostile text."""
        self.hostile |= self.cdata_elem == "script" and "pwned" in data


@pytest.fixture(params=SITES, ids=["tenant", "operators"])
def site(request, database):
    return Site(request.param)


def draw_page(site, data):
    """Draw an address, and the names of what its page takes, as its forms and links say."""
    here = quote(address(data, data.draw(st.sampled_from(site.routes)), site.known))
    return here, names_in(site.visit("get", here))


@pytest.mark.parametrize("site", [""], indirect=True)
def test_the_probe_of_readiness_is_answered_whatever_is_ready(site):
    assert site.visit("get", "/readyz").status_code in (200, 503)


@given(data=st.data())
@examples(100)
def test_whatever_an_address_says_is_answered(site, data):
    here, names = draw_page(site, data)
    site.visit("get", here, data.draw(st.dictionaries(names | TEXTS, TEXTS, max_size=4)))


@given(data=st.data())
@examples(100)
def test_whatever_a_form_says_is_answered(site, data):
    here, names = draw_page(site, data)
    values = TEXTS | st.sampled_from([*site.known, *ACTIONS, "1", "on", "now", "later"])
    site.visit("post", here, data.draw(st.dictionaries(names, values | st.lists(values, max_size=3))))


def names_in(answer):
    """Return the names of what a page takes, as its forms and links say."""
    page = "" if answer.streaming else answer.content.decode()
    found = {name for pair in NAMES.findall(page) for name in pair if name}
    return st.sampled_from(sorted({*ALWAYS, *found} - {"csrfmiddlewaretoken"}))


@pytest.mark.parametrize("site", ["alpha"], indirect=True)
@given(data=st.data())
@examples(60)
def test_whatever_a_request_says_is_answered(site, data):
    known = [handler.name for handler in registry.handlers()]
    ours = [name for name in known if name.startswith("forum.")]
    name = data.draw(st.sampled_from(ours) | st.sampled_from(known))
    here = f"/admin/directives/directive/request/{name}/"
    fields = [f"payload_{field}" for field in registry.get(name).Payload.model_fields]
    names = st.sampled_from(fields) | names_in(site.visit("get", here))
    values = TEXTS | st.sampled_from([*site.known, "now", "later", "1", "on"])
    fields = data.draw(st.dictionaries(names, values, min_size=2))
    # What the zoo does is not to be tried out in the tests' own process.
    fields["confirm"] = "request" if name.startswith("zoo.") else data.draw(st.sampled_from(CONFIRMS))
    site.visit("post", here, {"reason": "Spam", "when": "now", "batch": str(uuid4()), **fields})


@pytest.mark.parametrize("site", ["alpha"], indirect=True)
@pytest.mark.parametrize(
    "name", ["q", "o", "p", "e", "page", "term", "status", "within", "created_at_from_0"]
)
def test_every_list_answers_every_odd_parameter(site, name):
    for path in (
        "directives/directive/",
        "signals/signal/",
        "forums/post/",
        "auth/user/",
        "admin/logentry/",
    ):
        assert site.visit("get", f"/admin/{path}").status_code == 200
        for text in (
            "-1",
            "9" * 30,
            "1.2.3.",
            "x" * 6000,
            "0001-01-01",
            "9999-12-31",
            "\ud83d",
            "\u202e",
            "[]",
        ):
            site.visit("get", f"/admin/{path}?{name}={quote(text, errors='surrogatepass')}")


@pytest.mark.parametrize("site", ["alpha"], indirect=True)
def test_a_form_that_is_too_big_is_a_bad_request(site):
    for fields in ({"reason": "x" * 10_000_000}, {f"f{number}": "" for number in range(2000)}):
        assert (
            site.visit("post", "/admin/directives/directive/request/forum.post.hide/", fields).status_code
            == 400
        )
    body = "a=" + "%" * 1000 + "&=&&;" + "\xff"
    for kind in (
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "multipart/form-data",
        "a/b; charset=x",
    ):
        site.visit("generic", "POST", "/admin/login/", body.encode("latin-1"), content_type=kind)
