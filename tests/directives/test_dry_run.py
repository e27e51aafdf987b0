"""Dry runs: they report what would happen, and change nothing."""

import re
import threading

import pytest
from django.db import connection, transaction

from directives.errors import InvalidPayload, PermissionRefused, SecretRefused, UnknownDirective
from directives.models import Directive
from directives.requesting.dry_run import Difference, dry_run
from fleetprompt.tenants.context import NoActiveTenant, active_schema, in_tenant
from forums.models import Category, Post
from signals.models import Signal
from signals.types import Actor
from tests.recipes import accounts
from tests.support import TESTER, ask, run, wait_until


def snapshot():
    """Everything that a directive could have changed."""
    return (
        list(Post.objects.order_by("pk").values()),
        Category.objects.count(),
        Signal.objects.count(),
        Directive.objects.count(),
    )


def try_out(name, **payload):
    before = snapshot()
    found = dry_run(name, payload, actor=TESTER, reason="Trying")
    assert snapshot() == before
    return found


def test_a_change_is_told_and_rolled_back(forum):
    post = forum.posts[0]
    found = try_out("forum.post.hide", post_id=str(post.pk))
    assert found.error == ""
    assert set(found.differences) == {
        Difference("status", "published", "hidden"),
        Difference("revision", "1", "2"),
    }
    assert found.subject == post.subject
    [signal] = found.signals
    assert (signal.name, signal.payload["reason"]) == ("forum.post.hidden", "Trying")
    assert found.result["changed"] is True


def test_of_what_is_so_already_only_the_revision_would_change(forum):
    other = Actor("system", "other")
    run(ask("forum.post.hide", {"post_id": str(forum.posts[0].pk)}, actor=other).directive)
    found = try_out("forum.post.hide", post_id=str(forum.posts[0].pk))
    assert [difference.field for difference in found.differences] == ["revision"]
    assert found.result["changed"] is False


def test_something_new_is_told_by_its_signal(forum):
    found = try_out(
        "forum.post.create",
        thread_id=str(forum.thread.pk),
        content="Hello",
        author_id="bot",
        client_request_id="1",
    )
    assert [signal.name for signal in found.signals] == ["forum.post.created"]
    assert found.result["changed"] is True


def test_a_failure_is_told_with_its_reason(forum):
    missing = "01a20e50-7b68-75fc-a425-5e474228f90c"
    found = try_out("forum.post.hide", post_id=missing)
    assert found.result is None
    assert found.error.startswith(f"DirectiveError: forum.post: there is no {missing}")


@pytest.mark.parametrize("animal", ["crash", "refuse", "stumble", "mute", "babble", "quit", "escape"])
def test_a_badly_behaved_handler_leaves_nothing_and_its_tenant_active(alpha, animal):
    found = try_out(f"zoo.animal.{animal}", animal="cat", times=3)
    assert found.error
    assert active_schema() == "org_alpha"


@pytest.mark.parametrize("animal", ["doze", "hibernate"])
def test_a_handler_that_takes_too_long_is_stopped(alpha, animal):
    found = try_out(f"zoo.animal.{animal}", animal="cat")
    assert re.match(r"TimeLimitExceeded|OperationalError: canceling statement", found.error)


def test_a_connection_that_breaks_in_the_middle_is_told_and_replaced(alpha):
    found = try_out("zoo.animal.hang", animal="cat", times=1)
    assert found.error.startswith("OperationalError")
    assert active_schema() == "org_alpha"


def test_what_only_a_commit_would_refuse_is_told_too(alpha):
    found = try_out("zoo.animal.orphan", animal="cat")
    assert found.error.startswith("IntegrityError")


def test_a_record_that_a_worker_holds_is_not_waited_for_long(forum):
    post = forum.posts[0]
    holds, done = threading.Event(), threading.Event()

    def hold():
        with in_tenant("alpha"), transaction.atomic():
            Post.objects.select_for_update().get(pk=post.pk)
            holds.set()
            done.wait(20)
        connection.close()

    worker = threading.Thread(target=hold)
    worker.start()
    try:
        wait_until(holds.is_set, "the record is held")
        found = dry_run("forum.post.hide", {"post_id": str(post.pk)}, actor=TESTER)
        assert "lock timeout" in found.error
    finally:
        done.set()
        worker.join()


def test_bad_requests_are_refused_as_real_ones_are(forum):
    with pytest.raises(UnknownDirective):
        try_out("forum.post.hyde")
    with pytest.raises(InvalidPayload, match="post_id"):
        try_out("forum.post.hide", post_id="x")
    with pytest.raises(SecretRefused):
        try_out("forum.post.hide", post_id=str(forum.posts[0].pk), password="x")


def test_trying_needs_the_permission_to_request(forum):
    ann = accounts.user.make(username="ann")
    with pytest.raises(PermissionRefused):
        dry_run(
            "forum.post.hide",
            {"post_id": str(forum.posts[0].pk)},
            actor=Actor("user", str(ann.pk)),
        )


def test_trying_is_refused_outside_a_tenant_and_inside_a_transaction(forum):
    payload = {"post_id": str(forum.posts[0].pk)}
    with pytest.raises(RuntimeError), transaction.atomic():
        dry_run("forum.post.hide", payload, actor=TESTER)


def test_trying_is_refused_outside_a_tenant(database):
    with pytest.raises(NoActiveTenant):
        dry_run("forum.post.hide", {}, actor=TESTER)
