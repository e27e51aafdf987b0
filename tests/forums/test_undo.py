"""Undo after a rerun, undo of many, and whatever cannot be undone: refused by name, nothing changed."""

import json
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from directives import operations
from directives.errors import DirectiveNotFound, Refused
from directives.models import Directive, Restriction
from directives.requests import request, request_many
from directives.runner import run_due
from fleetprompt.tenants.context import in_tenant
from forums.models import Category, Post, Thread
from signals.models import Signal
from signals.types import Actor
from tests.directives.commands import directive as command
from tests.recipes import forums
from tests.support import ABSENT, TESTER, ask, claim, make_forum, run

MIRA, ADA = Actor("agent", "mira"), Actor("agent", "ada")


def do(name, record, actor=MIRA, **more):
    payload = {f"{name.split('.')[1]}_id": str(record.pk), **more}
    directive = ask(name, payload, actor=actor, reason="why not").directive
    run(directive)
    return directive


def rerun(directive):
    operations.rerun(directive.pk, actor=MIRA, reason="again")
    run(directive)
    return directive


def undo(directive):
    undoing = operations.undo(directive.pk, actor=ADA, reason="a mistake").directive
    run(undoing)
    assert undoing.status == "succeeded", undoing.last_error
    return undoing


def everything():
    """Return all that an operation could change in the active tenant."""
    models = (Directive, Restriction, Signal, Post, Thread, Category)
    return [list(model.objects.order_by("pk").values()) for model in models]


# What was done before a rerun


def test_what_began_before_a_rerun_that_failed_is_ended(forum):
    [post, *_] = forum.posts
    hidden = do("forum.post.hide", post)
    deleted = do("forum.post.delete", post, ADA)
    assert rerun(hidden).status == "failed"
    assert undo(hidden).name == "restriction.end"
    undo(deleted)
    post.refresh_from_db()
    assert post.status == "published"


def test_what_was_moved_before_a_rerun_that_failed_goes_back(forum):
    news = forums.category.make(slug="news", name="News")
    moved = do("forum.thread.move", forum.thread, category_id=str(news.pk))
    assert rerun(moved).status == "failed"
    assert undo(moved).result["after"] == str(forum.category.pk)


def test_what_was_lifted_before_a_rerun_that_was_canceled_is_restricted_again(forum):
    do("forum.thread.lock", forum.thread)
    unlocked = do("forum.thread.unlock", forum.thread)
    operations.rerun(unlocked.pk, actor=MIRA, reason="again")
    operations.cancel(unlocked.pk, actor=MIRA, reason="or not")
    undo(unlocked)
    assert Thread.objects.get(pk=forum.thread.pk).status == "locked"


def test_what_was_done_before_a_rerun_is_undone_once(forum):
    hidden = do("forum.post.hide", forum.posts[0])
    undo(hidden)
    do("forum.post.delete", forum.posts[0], ADA)
    assert rerun(hidden).status == "failed"
    check_refused(hidden, "has ended already, on ")


# Many at once


def move_all(threads, category):
    items = [
        ("forum.thread.move", {"thread_id": str(one.pk), "category_id": str(category.pk)})
        for one in threads
    ]
    asked = [one.directive for one in request_many(items, actor=MIRA, reason="tidy")]
    run_due()
    return asked[0].correlation_id


def queries_of_an_undo(forum, threads):
    """Move threads, change all of them, and count the queries of the undo that leaves all alone."""
    news = forums.category.make()
    correlation_id = move_all(threads, news)
    locks = [do("forum.thread.lock", one, ADA) for one in threads]
    with CaptureQueriesContext(connection) as queries:
        undone = operations.undo_batch(correlation_id, actor=MIRA, reason="a mistake")
    assert {why.by.pk for why in undone.refused.values()} == {one.pk for one in locks}
    assert not undone.requested
    return len(queries)


def test_what_changed_many_since_is_found_by_one_query(forum):
    few, many = ([forums.thread.make(category=forum.category) for _ in range(number)] for number in (2, 9))
    assert queries_of_an_undo(forum, few) == queries_of_an_undo(forum, many)


def test_posts_with_three_restrictions_each_are_undone_as_one_batch(forum):
    posts = [forums.post.make(thread=forum.thread) for _ in range(300)]
    correlation_id = str(uuid4())
    for name, actor in (("hide", MIRA), ("hide", ADA), ("delete", ADA)):
        items = [(f"forum.post.{name}", {"post_id": str(post.pk)}, "", str(uuid4())) for post in posts]
        request_many(items, actor=actor, reason="spam", correlation_id=correlation_id)
        run_due()
    assert Restriction.objects.filter(ended_at=None).count() == 900
    undone = operations.undo_batch(correlation_id, actor=ADA, reason="wrong pattern")
    run_due()
    assert (len(undone.requested), undone.refused) == (900, {})
    assert all(one.directive.causation_id == str(pk) for pk, one in undone.requested.items())
    assert not Restriction.objects.filter(ended_at=None).exists()
    assert set(Post.objects.values_list("status", flat=True)) == {"published"}


# What cannot be undone, and what is no directive's to change


def unfinished(state, forum):
    if state == "failed":
        return do("forum.thread.unlock", forum.thread)
    lock = ask("forum.thread.lock", {"thread_id": str(forum.thread.pk)}).directive
    if state == "running":
        claim(lock)
    elif state == "canceled":
        operations.cancel(lock.pk, actor=TESTER, reason="no")
    return lock


@pytest.mark.parametrize("state", ["requested", "running", "failed", "canceled"])
def test_an_undo_of_what_has_not_succeeded_is_refused(forum, state):
    directive = unfinished(state, forum)
    check_refused(directive, f"is {state}; only what has succeeded can be undone")


def check_refused(directive, why):
    """Undo a directive by Python and by the command line: both are refused, and change nothing."""
    before = everything()
    with pytest.raises(Refused, match=rf"^id: .*{why}"):
        operations.undo(directive.pk, actor=MIRA, reason="a mistake")
    refused = command("undo", str(directive.pk), "--actor", "agent:mira", "--reason", "a mistake")
    assert refused.error.startswith("id: ")
    assert why in refused.error
    assert everything() == before


def test_an_undo_of_an_undone_one_is_refused(forum):
    hidden = do("forum.post.hide", forum.posts[0])
    undo(hidden)
    check_refused(hidden, "has ended already, on ")


def test_an_undo_of_a_subject_that_is_gone_is_refused(forum):
    news = forums.category.make()
    moved = do("forum.thread.move", forum.thread, category_id=str(news.pk))
    pk = forum.thread.pk
    forum.thread.posts.all().delete()
    forum.thread.delete()
    check_refused(moved, f"forum.thread:{pk} is gone")


def test_an_undo_of_what_another_tenant_did_is_refused(database):
    with in_tenant("beta"):
        foreign = do("forum.post.hide", make_forum().posts[0])
    with in_tenant("alpha"), pytest.raises(DirectiveNotFound, match=f"id: .*no directive {foreign.pk}"):
        operations.undo(foreign.pk, actor=MIRA, reason="a mistake")


def failed(name, payload):
    """Request and run what fails; return why, and check that nothing else has changed."""
    before = everything()
    directive = request(name, payload, actor=MIRA, reason="why not").directive
    run(directive)
    after = everything()
    assert directive.status == "failed"
    assert [before[1], *before[3:]] == [after[1], *after[3:]], "restrictions and the forum"
    assert [one["name"] for one in after[2][len(before[2]) :]] == [
        "directive.requested",
        "directive.started",
        "directive.failed",
    ]
    return directive.last_error.removeprefix("DirectiveError: ")


def about(post, restriction_id):
    return {"subject": {"type": "forum.post", "id": str(post.pk)}, "restriction_id": str(restriction_id)}


@pytest.mark.parametrize("lift", ["forum.post.unhide", "forum.post.restore"])
def test_lifting_what_is_not_there_names_the_state(forum, lift):
    [post, *_] = forum.posts
    assert failed(lift, {"post_id": str(post.pk)}) == (
        f"forum.post:{post.pk} is published: there is nothing to lift"
    )


def test_a_move_to_the_category_where_it_is_names_the_field(forum):
    payload = {"thread_id": str(forum.thread.pk), "category_id": str(forum.category.pk)}
    assert failed("forum.thread.move", payload).startswith("category_id: ")


@pytest.mark.parametrize("name", ["restriction.end", "restriction.reschedule"])
def test_a_restriction_of_another_tenant_names_the_field(database, name):
    with in_tenant("beta"):
        do("forum.post.hide", make_forum().posts[0])
        foreign = Restriction.objects.get().pk
    with in_tenant("alpha"):
        [post, *_] = make_forum().posts
        error = failed(name, about(post, foreign))
        assert error == f"restriction_id: forum.post:{post.pk} has no restriction {foreign}"


@pytest.mark.parametrize("name", ["forum.post.hide", "forum.post.unhide"])
def test_a_subject_that_is_gone_is_named(forum, name):
    assert failed(name, {"post_id": ABSENT}) == f"forum.post: there is no {ABSENT} in this tenant"


def test_an_end_of_what_restricted_a_subject_that_is_gone_names_it(forum):
    [post, *_] = forum.posts
    do("forum.post.hide", post)
    pk = post.pk
    post.delete()
    post.pk = pk
    error = failed("restriction.end", about(post, Restriction.objects.get().pk))
    assert error == f"forum.post: there is no {pk} in this tenant"


@pytest.mark.parametrize(
    ("name", "until", "message"),
    [
        ("forum.thread.lock", timezone.now() - timedelta(hours=1), "expires_at: expected a time after "),
        ("forum.post.create", timezone.now() + timedelta(hours=1), "expires_at: forum.post.create has no"),
    ],
)
def test_an_expiry_that_makes_no_sense_is_refused(forum, name, until, message):
    payload = {"thread_id": str(forum.thread.pk)}
    if name == "forum.post.create":
        payload |= {"content": "Hi", "author_id": "bot", "client_request_id": "1"}
    before = everything()
    with pytest.raises(Refused, match=f"^{message}"):
        request(name, payload, actor=MIRA, expires_at=until)
    refused = command("request", name, "--payload", json.dumps(payload), "--until", until.isoformat())
    assert refused.error.startswith(message)
    assert everything() == before


@pytest.mark.parametrize("batch", ["", "\x00", "\ud800", "x" * 256])
def test_a_batch_that_cannot_be_is_refused(alpha, batch):
    with pytest.raises(Refused, match="batch: expected"):
        operations.undo_batch(batch, actor=ADA, reason="x")
