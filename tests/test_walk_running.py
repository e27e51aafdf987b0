"""docs/walk.md names the modules that a worker enters from a queue message to the effect."""

from directives import tasks
from directives.executing import attempts
from directives.models import Directive
from forums.models import Post
from signals.models import Signal
from tests.support import ask, make_forum
from tests.test_walk import check, documented, entered

MAX_MODULES = 16


def test_running(alpha):
    # The first has a transaction of its own. Then the handler is known to be quick: the second shares one.
    found = {}
    for post in make_forum().posts[:2]:
        ask("forum.post.hide", {"post_id": str(post.pk)}, reason="Spam")
        for path, functions in entered(lambda: tasks.work("alpha")).items():
            found.setdefault(path, set()).update(functions)
        # As on an idle machine; the first run of a process is slow.
        attempts.seconds_by_name["forum.post.hide"] = 0.0
        tasks._batch_size = tasks.FIRST_BATCH_SIZE
    assert list(Directive.objects.values_list("status", flat=True)) == ["succeeded"] * 2
    assert Post.objects.filter(status="hidden").count() == 2
    assert Signal.objects.filter(name="forum.post.hidden").count() == 2
    check("Running", found)


def test_the_whole_walk_is_short():
    assert len({*documented("Requesting"), *documented("Running")}) <= MAX_MODULES
