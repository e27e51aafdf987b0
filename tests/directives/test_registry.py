"""Discovery of handlers, and the declarations a handler must have."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from directives import registry
from directives.authority import permissions
from directives.errors import UnknownDirective
from directives.handlers import DirectivePayload, Handler
from signals.types import Subject
from tests.zoo.directive_handlers.animals import Work


@pytest.fixture(autouse=True)
def registry_as_before():
    """Take away what a test registered."""
    before = dict(registry._handlers)
    yield
    registry._handlers.clear()
    registry._handlers.update(before)


def handler(**declarations):
    """Make a handler class that is fine except for what the test declares; None leaves something out."""
    fine = {
        "__module__": __name__,
        "name": "test.thing.do",
        "label": "Do",
        "Payload": DirectivePayload,
        "execute": lambda self, context, payload: {},
    }
    body = {key: value for key, value in {**fine, **declarations}.items() if value is not None}
    return type("Do", (Handler,), body)


def test_handlers_of_all_installed_apps_are_found():
    names = [found.name for found in registry.handlers()]
    assert names == sorted(names)
    assert {
        "forum.thread.lock",
        "forum.thread.unlock",
        "forum.post.hide",
        "forum.post.unhide",
        "forum.post.delete",
        "forum.post.create",
        "zoo.animal.work",
    } <= {*names}


def test_discovering_again_changes_nothing():
    before = [type(found) for found in registry.handlers()]
    registry.discover()
    assert [type(found) for found in registry.handlers()] == before


def test_a_complete_handler_is_taken_and_found():
    do = handler()
    registry.register(do)
    registry.register(do)
    assert isinstance(registry.get("test.thing.do"), do)


def test_two_handlers_with_one_name_are_refused_naming_both():
    with pytest.raises(ImproperlyConfigured, match=r"test_registry\.Do and .*animals\.Work are both named"):
        registry.register(handler(name="zoo.animal.work"))
    assert isinstance(registry.get("zoo.animal.work"), Work)


@pytest.mark.parametrize(
    ("declarations", "message"),
    [
        ({"name": None}, "name: expected dotted"),
        ({"name": "lock"}, "name: expected dotted"),
        ({"name": "Forum.Lock"}, "name: expected dotted"),
        ({"name": "forum..lock"}, "name: expected dotted"),
        ({"name": "forum.lock\n"}, "name: expected dotted"),
        ({"name": "a." + "b" * 254}, "name: expected dotted"),
        ({"label": None}, "label: expected"),
        ({"label": ""}, "label: expected"),
        ({"Payload": None}, "Payload: expected a subclass of DirectivePayload"),
        ({"Payload": dict}, "Payload: expected a subclass of DirectivePayload"),
        ({"execute": None}, "execute: expected"),
        ({"timeout": 0}, "timeout: expected seconds"),
        ({"timeout": -1}, "timeout: expected seconds"),
        ({"timeout": 7 * 24 * 3600 + 1}, "timeout: expected seconds, more than 0 and at most 604800"),
        ({"timeout": float("inf")}, "timeout: expected seconds"),
        ({"timeout": float("nan")}, "timeout: expected seconds"),
    ],
)
def test_what_a_handler_lacks_is_said_with_the_class_that_lacks_it(declarations, message):
    before = registry.handlers()
    with pytest.raises(ImproperlyConfigured) as caught:
        registry.register(handler(**declarations))
    assert message in str(caught.value)
    assert "test_registry.Do: " in str(caught.value)
    assert registry.handlers() == before


def test_an_inverse_that_does_not_exist_is_refused_once_all_are_known():
    registry.register(handler(inverse="test.thing.undo"))
    with pytest.raises(
        ImproperlyConfigured, match=r"Do: inverse: there is no directive 'test\.thing\.undo'"
    ):
        registry.discover()
    registry.register(handler(name="test.thing.undo", inverse="test.thing.do"))
    registry.discover()


def test_forum_directives_name_each_other_as_inverse():
    pairs = {found.name: found.inverse for found in registry.handlers() if found.inverse}
    assert pairs["forum.thread.lock"] == "forum.thread.unlock"
    assert pairs["forum.post.unhide"] == "forum.post.hide"


@pytest.mark.parametrize("action", permissions.ACTIONS)
@pytest.mark.parametrize("length", [3, 92, 93, 94, 255])
def test_every_name_has_permissions_that_fit_their_column(length, action):
    name = "a." + "b" * (length - 2)
    codename = permissions.codename(action, name)
    assert codename.startswith(f"{action}_a.b")
    assert len(codename) <= 100
    assert permissions.permission(action, name) == f"directives.{codename}"


def test_long_names_that_begin_alike_have_permissions_of_their_own():
    one, other = (permissions.codename("request", "a." + "b" * 200 + end) for end in "cd")
    assert one != other


def test_a_subject_field_that_is_no_reference_stops_the_start():
    with pytest.raises(ImproperlyConfigured, match="subject_field: expected a field of the payload"):
        registry.register(handler(name="test.thing.point", subject_field="reason"))


def test_handlers_are_found_by_what_they_are_about():
    about = {found.name for found in registry.about("forum.thread")}
    assert {"forum.thread.lock", "forum.thread.unlock", "forum.post.create"} <= about
    assert not about & {"forum.post.hide", "zoo.animal.work"}
    assert registry.about("forum.nothing") == []


def test_an_unknown_name_is_not_found():
    assert registry.find("no.such") is None
    with pytest.raises(UnknownDirective):
        registry.get("no.such")


def test_a_handler_without_a_subject_has_a_key_of_its_payload_and_no_place_in_a_line():
    class Payload(DirectivePayload):
        word: str

    found = handler(Payload=Payload)()
    keys = [
        found.idempotency_key(found.parse(payload), tenant="alpha", revision=7)
        for payload in ({"word": "a"}, {"word": "a", "reason": None}, {"word": "b"})
    ]
    assert keys[0] == keys[1] != keys[2]
    assert keys[0].startswith("test.thing.do:alpha:")
    assert found.ordering_key(found.parse({"word": "a"})) == ""


def test_an_unordered_handler_has_no_place_in_a_line():
    about = {"subject": lambda self, payload: Subject("test.thing", "1")}
    assert handler(**about)().ordering_key(DirectivePayload()) == "test.thing:1"
    assert handler(**about, ordered=False)().ordering_key(DirectivePayload()) == ""
