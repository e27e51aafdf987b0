"""docs/walk.md names the modules that a real request and run enter, in their order, and no others."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any
from uuid import uuid4

from django.conf import settings

from directives.models import Directive
from fleetprompt.tenants.context import in_tenant
from tests.admin import client_of
from tests.support import make_forum

PACKAGES = ("directives", "forums", "signals")
HIDE = "/admin/directives/directive/request/forum.post.hide/"


def entered(act: Callable[[], Any]) -> dict[str, set[str]]:
    """Return the modules of `PACKAGES` that a call enters, in the order of entry, with their functions."""
    found: dict[str, set[str]] = {}

    def note(frame: FrameType, event: str, _: Any) -> None:
        path, function = Path(frame.f_code.co_filename), frame.f_code.co_name
        # Not <module>, which is an import, nor <lambda> and the like, which belong to a function.
        if event == "call" and path.is_relative_to(settings.BASE_DIR) and not function.startswith("<"):
            inside = path.relative_to(settings.BASE_DIR)
            if inside.parts[0] in PACKAGES:
                found.setdefault(str(inside), set()).add(function)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        act()
    finally:
        sys.setprofile(before)
    return found


def documented(section: str) -> dict[str, set[str]]:
    """Return the modules that a section of the walk lists, in order, with the functions to read."""
    text = Path(settings.BASE_DIR, "docs/walk.md").read_text()
    [body] = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", text, re.M | re.S)
    items = re.findall(r"^\d+\. \[`([^`]+)`\]\(\.\./\1\)(.*?)(?=^\d+\. |^$|\Z)", body, re.M | re.S)
    return {path: set(re.findall(r"`(\w+)`", text.partition("Read ")[2])) for path, text in items}


def check(section: str, found: dict[str, set[str]]) -> None:
    """Check a section against what was entered."""
    listed = documented(section)
    assert list(listed) == list(found)
    for path, functions in listed.items():
        assert functions, f"{path}: the walk names no function to read"
        assert functions <= found[path], f"{path}: {functions - found[path]} is not entered"


def test_requesting(database):
    with in_tenant("alpha"):
        first, second, _ = make_forum().posts
    mira = client_of("mira", group="Moderator")

    def hide(post):
        fields = {"subjects": str(post.pk), "batch": str(uuid4()), "reason": "Spam", "when": "now"}
        return mira.post(HIDE, {**fields, "confirm": "request"})

    # What is kept for the next request, such as a signed wake-up, is made with this one.
    assert hide(first).status_code == 302
    check("Requesting", entered(lambda: hide(second)))
    with in_tenant("alpha"):
        assert Directive.objects.filter(subject_id=str(second.pk)).exists()
