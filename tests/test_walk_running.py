"""Running enters the modules that `docs/walk.md` names, and no others."""

import re
import sys
from pathlib import Path

from django.conf import settings

from directives import tasks
from directives.executing import attempts
from directives.models import Directive
from forums.models import Post
from signals.models import Signal
from tests.support import ask, make_forum

PACKAGES = ("directives", "forums", "signals")


def test_running_enters_the_modules_of_the_walk_and_no_others(alpha):
    # The first has a transaction of its own. Then the handler is known to be quick: the second shares one.
    posts = make_forum().posts
    entered = set()
    for post in posts[:2]:
        ask("forum.post.hide", {"post_id": str(post.pk)}, reason="Spam")
        entered |= modules_entered(lambda: tasks.work("alpha"))
        with attempts.timing("forum.post.hide"):
            # As on an idle machine; the first run of a process is slow.
            tasks.forget_batch_size()
    assert list(Directive.objects.values_list("status", flat=True)) == ["succeeded"] * 2
    assert Post.objects.filter(status="hidden").count() == 2
    assert Signal.objects.filter(name="forum.post.hidden").count() == 2
    assert sorted(entered) == sorted(named_in_walk("Running"))


def modules_entered(call):
    """Return the modules of the three packages of which `call` enters a function."""
    entered = set()

    def profile(frame, event, argument):
        if event == "call" and frame.f_code.co_name != "<module>":
            entered.add(frame.f_code.co_filename)

    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(None)
    found = [Path(name) for name in entered if name.startswith(f"{settings.BASE_DIR}/")]
    names = [".".join(path.relative_to(settings.BASE_DIR).with_suffix("").parts) for path in found]
    return {name for name in names if name.partition(".")[0] in PACKAGES}


def named_in_walk(title):
    """Return the modules that a section of the walk names at the beginning of its entries."""
    text = Path(settings.BASE_DIR, "docs/walk.md").read_text()
    [section] = re.findall(rf"^## {title}$(.*?)(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"^\d+\. `([\w.]+)`", section, flags=re.MULTILINE)
