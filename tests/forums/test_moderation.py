"""Moderation's changes of a status: each bumps the revision once, and none happens twice."""

import threading
from functools import partial
from uuid import uuid4

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from directives.errors import DirectiveError
from directives.handlers import Context, Handler
from fleetprompt.tenants.context import in_tenant
from forums import moderation
from forums.directive_handlers.hide_post import HidePost
from forums.models import Post, Thread
from signals.models import Signal
from tests.recipes import forums
from tests.support import ask, make_forum, somebody_waits, wait_until


def set_status(model, pk, status, expected_revision=None):
    [change] = moderation.set_statuses(model, {pk: expected_revision}, status).values()
    if isinstance(change, DirectiveError):
        raise change
    return change


hide_post, publish_post, delete_post = (
    partial(set_status, Post, status=status) for status in ("hidden", "published", "deleted")
)
lock_thread, open_thread = (partial(set_status, Thread, status=status) for status in ("locked", "open"))
POST_CHANGES = {hide_post: "hidden", publish_post: "published", delete_post: "deleted"}
THREAD_CHANGES = {lock_thread: "locked", open_thread: "open"}
CHANGES = [*POST_CHANGES.items(), *THREAD_CHANGES.items()]


@pytest.mark.parametrize("before", Post.Status.values)
@pytest.mark.parametrize(("change", "after"), POST_CHANGES.items())
def test_a_post_gets_the_status_from_any_other(forum, change, after, before):
    _check(change, after, forum.posts[0], before)
    assert set(Post.objects.exclude(pk=forum.posts[0].pk).values_list("status", "revision")) == {
        ("published", 1)
    }


@pytest.mark.parametrize("before", Thread.Status.values)
@pytest.mark.parametrize(("change", "after"), THREAD_CHANGES.items())
def test_a_thread_gets_the_status_from_any_other(forum, change, after, before):
    _check(change, after, forum.thread, before)


def test_a_deleted_post_keeps_its_text(forum):
    with transaction.atomic():
        delete_post(pk=forum.posts[0].pk)
    assert Post.objects.get(pk=forum.posts[0].pk).content == "Post 0"


class HideSingly(HidePost):
    """Has `execute` only."""

    execute_many = Handler.execute_many


def test_a_handler_that_executes_one_at_a_time_makes_the_same_change(forum):
    post = forum.posts[0]
    context = Context(ask("forum.post.hide", {"post_id": str(post.pk)}).directive, "alpha")
    with transaction.atomic():
        result = HideSingly().execute(context, HidePost.Payload(post_id=post.pk))
    assert (result["changed"], result["status"]) == (True, "hidden")
    assert [signal.name for signal in context.signals] == ["forum.post.hidden"]


@pytest.mark.parametrize("change", [change for change, _ in CHANGES])
def test_what_is_not_there_is_an_error_that_names_it(forum, change):
    missing = uuid4()
    with pytest.raises(DirectiveError, match=str(missing)), transaction.atomic():
        change(pk=missing)


def test_another_tenants_record_is_not_there(database):
    with in_tenant("beta"):
        pk = make_forum().posts[0].pk
    with in_tenant("alpha"):
        make_forum()
        with pytest.raises(DirectiveError, match="in this tenant"), transaction.atomic():
            hide_post(pk=pk)
    with in_tenant("beta"):
        assert Post.objects.get(pk=pk).status == "published"


@pytest.mark.parametrize(("expected", "refused"), [(1, False), (0, True), (2, True), (None, False)])
def test_a_record_that_changed_since_it_was_looked_at_is_left_alone(forum, expected, refused):
    pk = forum.posts[0].pk
    if refused:
        with pytest.raises(DirectiveError, match=r"expected_revision: .* at revision 1, not"):
            _in_transaction(hide_post, pk=pk, expected_revision=expected)
    else:
        _in_transaction(hide_post, pk=pk, expected_revision=expected)
    assert Post.objects.get(pk=pk).status == ("published" if refused else "hidden")


def test_a_change_waits_for_one_that_is_under_way(forum):
    pk = forum.posts[0].pk
    changes = []

    def hide():
        with in_tenant("alpha"):
            changes.append(_in_transaction(hide_post, pk=pk))
        connection.close()

    other = threading.Thread(target=hide)
    with transaction.atomic():
        changes.append(delete_post(pk=pk))
        other.start()
        wait_until(somebody_waits, "the second change waits")
    other.join()
    assert [(c.before, c.after, c.revision) for c in changes] == [
        ("published", "deleted", 2),
        ("deleted", "hidden", 3),
    ]


def test_a_found_record_can_be_changed_by_two_at_once(forum):
    titles = []

    def rename(title):
        thread = moderation.find(Thread, forum.thread.pk)
        titles.append(thread.title)
        if title == "First":
            other.start()
            wait_until(somebody_waits, "the second one waits")
        Thread.objects.filter(pk=thread.pk).update(title=title)

    def rename_too():
        with in_tenant("alpha"):
            _in_transaction(rename, title="Second")
        connection.close()

    other = threading.Thread(target=rename_too)
    _in_transaction(rename, title="First")
    other.join()
    assert titles == ["Welcome", "First"]
    assert Thread.objects.get(pk=forum.thread.pk).title == "Second"


@pytest.mark.parametrize("shared", [True, False])
def test_posts_are_added_to_a_found_thread_without_a_wait(forum, shared):
    """The foreign key of a post locks its thread, and those who only read the thread share it."""

    def add():
        with in_tenant("alpha"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '2s'")
            if shared:
                moderation.find(Thread, forum.thread.pk, shared=True)
            forums.post.make(thread=forum.thread)
        connection.close()

    with transaction.atomic():
        moderation.find(Thread, forum.thread.pk, shared=shared)
        other = threading.Thread(target=add)
        other.start()
        other.join()
    assert forum.thread.posts.count() == 4


def test_moderation_itself_says_nothing(forum):
    before = Signal.objects.count()
    _in_transaction(lock_thread, pk=forum.thread.pk)
    assert Signal.objects.count() == before


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(list(POST_CHANGES))))
def test_the_revision_counts_the_changes_and_nothing_else(forum, changes):
    post = forums.post.make(thread=forum.thread)
    status, revision = "published", 1
    for change in changes:
        wanted = POST_CHANGES[change]
        done = _in_transaction(change, pk=post.pk)
        assert (done.changed, done.before, done.after) == (wanted != status, status, wanted)
        revision += wanted != status
        status = wanted
        assert done.revision == revision
    post.refresh_from_db()
    assert (post.status, post.revision) == (status, revision)


def _check(change, after, record, before):
    type(record).objects.filter(pk=record.pk).update(status=before)
    done = _in_transaction(change, pk=record.pk)
    record.refresh_from_db()
    changed = before != after
    assert (done.changed, done.before, done.after) == (changed, before, after)
    assert (record.status, record.revision) == (after, 1 + changed)
    assert done.revision == record.revision


def _in_transaction(change, **options):
    with transaction.atomic():
        return change(**options)
