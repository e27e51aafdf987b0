"""The demo as people run it: a process of its own, a real cluster, and the same again."""

import re

from django.db import connection

from directives.models import Directive
from fleetprompt.tenants.context import in_tenant
from forums.models import Post, Thread
from tests.support import manage


def test_the_demo_shows_what_directives_are_and_can_be_run_again(database):
    first = manage("demo")
    assert first.returncode == 0, first.stdout + first.stderr
    _check_report(first.stdout, run=1)
    _check_forums(run=1)
    second = manage("demo")
    assert second.returncode == 0, second.stdout + second.stderr
    _check_report(second.stdout, run=2)
    _check_forums(run=1)
    _check_forums(run=2)


def test_a_demo_that_does_not_finish_says_so(database):
    found = manage("demo", "--timeout", "0")
    assert found.returncode == 1
    assert "did not finish within 0 s" in found.stderr
    assert "The cluster's last lines:" in found.stderr
    assert "Traceback" not in found.stderr
    assert _other_connections() == 0, "the cluster is left running"


def _check_report(shown: str, *, run: int) -> None:
    assert f"Run {run}." in shown
    assert "13 posts hidden by one batch" in shown
    assert "and 9 more" in shown
    assert "the same directive and no second post" in shown
    assert "20 requested, 19 succeeded, 1 of them after it failed and was rerun, 1 snoozed" in shown
    assert re.search(r"median \d+\.\d\d s, at most \d+\.\d\d s", shown)
    assert re.search(r"directive\.failed +DirectiveError: thread_id: .* is locked", shown)
    assert re.search(r"directive\.snoozed +until \d\d:\d\d by Mira Okafor", shown)
    assert "make run" in shown
    assert "http://harbor.localhost:8000/" in shown
    assert len(shown.splitlines()) < 100


def _check_forums(*, run: int) -> None:
    # The demo has made tenants that this process has not seen yet.
    connection.close()
    with in_tenant("harbor"):
        thread = Thread.objects.get(external_id=f"demo-run-{run}")
        assert thread.posts.filter(status=Post.Status.HIDDEN).count() == 12
        assert thread.posts.filter(author_type=Post.AuthorType.AGENT).count() == 1
        waiting = Directive.objects.get(subject_id=str(thread.pk), name="forum.thread.lock")
        assert (waiting.status, waiting.attempt) == (Directive.Status.REQUESTED, 0)
    with in_tenant("orchard"):
        thread = Thread.objects.get(external_id=f"demo-run-{run}")
        assert thread.status == Thread.Status.OPEN
        assert thread.posts.filter(status=Post.Status.DELETED).count() == 1
        assert thread.posts.filter(author_type=Post.AuthorType.AGENT).count() == 1
        rerun = Directive.objects.get(subject_id=str(thread.pk), name="forum.post.create")
        assert (rerun.status, rerun.attempt) == (Directive.Status.SUCCEEDED, 2)


def _other_connections() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return int(cursor.fetchone()[0])
