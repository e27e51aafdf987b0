"""The demo runs in a process of its own with a real cluster, and can run again."""

import re

import pytest
from django.db import connection
from django.test import Client

from directives.models import Directive
from fleetprompt.tenants.context import in_tenant
from forums.models import Post, Thread
from tests.support import manage, other_sessions, wait_until


@pytest.mark.long
def test_the_demo_shows_what_directives_are_and_can_be_run_again(database):
    first = manage("demo", "--port", "8123")
    assert first.returncode == 0, first.stdout + first.stderr
    _check_report(first.stdout, run=1, port=8123)
    old = _check_log_ins(first.stdout, port=8123)
    _check_forums(run=1)
    second = manage("demo")
    assert second.returncode == 0, second.stdout + second.stderr
    _check_report(second.stdout, run=2)
    new = _check_log_ins(second.stdout)
    assert not set(old) & set(new), "a run gives new passwords"
    _check_forums(run=1)
    _check_forums(run=2)


def test_a_demo_that_does_not_finish_says_so(database):
    found = manage("demo", "--timeout", "0")
    assert found.returncode == 1
    assert "did not finish within 0 s" in found.stderr
    assert "The cluster's last lines:" in found.stderr
    assert "Traceback" not in found.stderr
    # The server notices a moment later that a stopped process has gone.
    wait_until(lambda: other_sessions() == 0, "the cluster is not left running", seconds=10)


def _check_report(shown: str, *, run: int, port: int = 8000) -> None:
    assert f"Run {run}." in shown
    assert "13 posts hidden by one batch" in shown
    assert "and 9 more" in shown
    assert "the same directive and no second post" in shown
    assert "20 requested, 19 succeeded, 1 of them after it failed and was rerun, 1 snoozed" in shown
    assert re.search(r"median \d+\.\d\d s, at most \d+\.\d\d s", shown)
    assert re.search(r"directive\.failed +DirectiveError: thread_id: .* is locked", shown)
    assert re.search(r"directive\.snoozed +until \d\d:\d\d by Mira Okafor", shown)
    assert ("make run PORT=8123" in shown) == (port == 8123)
    assert f"http://harbor.localhost:{port}/" in shown
    assert set(re.findall(r"localhost:(\d+)", shown)) == {str(port)}
    assert "to /etc/hosts: 127.0.0.1 harbor.localhost orchard.localhost\n" in shown
    assert len(shown.splitlines()) < 100


def _check_log_ins(shown: str, *, port: int = 8000) -> list[str]:
    connection.close()
    [(name, password)] = re.findall(
        rf"http://localhost:{port}/admin/.*\n    (\w+) +(\S+) +the operator\n", shown
    )
    passwords = [password]
    client = Client(headers={"host": "localhost"})
    answer = client.post("/admin/login/?next=/admin/", {"username": name, "password": password})
    assert (answer.status_code, answer.headers["location"]) == (302, "/admin/")
    assert client.get("/admin/tenants/tenant/").status_code == 200
    for host in ("harbor.localhost", "orchard.localhost"):
        [lines] = re.findall(rf"http://{host}:{port}/admin/.*\n((?: {{4}}\w+ +\S+ +the \w+\n){{3}})", shown)
        found = re.findall(r"(\w+) +(\S+) +the (\w+)", lines)
        assert [(name, role) for name, _, role in found] == [
            ("mira", "moderator"),
            ("aki", "auditor"),
            ("ada", "admin"),
        ]
        for name, password, role in found:
            _check_log_in(host, name, password, is_admin=role == "admin")
            passwords.append(password)
    return passwords


def _check_log_in(host: str, name: str, password: str, *, is_admin: bool) -> None:
    client = Client(headers={"host": host})
    answer = client.post("/admin/login/?next=/admin/", {"username": name, "password": password})
    assert (answer.status_code, answer.headers["location"]) == (302, "/admin/")
    assert client.get("/admin/").status_code == 200
    assert client.get("/admin/directives/directive/").status_code == 200
    user = answer.wsgi_request.user
    assert user.has_perm("directives.rerun_forum.post.create") == is_admin
    assert user.has_perm("directives.request_forum.post.delete") == is_admin
    # A request leaves its tenant active.
    connection.set_schema_to_public()


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
