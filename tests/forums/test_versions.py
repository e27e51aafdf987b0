"""Edits keep the former texts: under the row's lock, once for each other text, signals without the text."""

from contextlib import ExitStack
from functools import partial

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from model_bakery import baker

from directives import restrictions, runner
from directives.restricting.values import Plan, RestrictedColumn, Wanted
from fleetprompt.tenants.context import NoActiveTenant, in_tenant
from forums import content
from forums.models import ContentVersion, Post, Thread
from signals.models import Signal
from tests.library.models import Shelf
from tests.recipes import directives, forums
from tests.support import (
    TESTER,
    ask,
    in_threads,
    make_forum,
    meanwhile,
    run,
    somebody_waits,
    wait_until,
)


@pytest.fixture(params=["post", "thread"])
def edit(request, forum):
    """Edit a post or a thread, and return it as it is stored."""
    if request.param == "post":
        return partial(content.edit_post, forum.posts[0], actor=TESTER)
    return partial(content.edit_thread, forum.thread, actor=TESTER)


def _text(record):
    return getattr(record, record.TEXT_FIELD)


def _versions(record):
    kept = ContentVersion.objects.filter(subject_type=record.SUBJECT_TYPE, subject_id=str(record.pk))
    return [(one.version, one.text) for one in kept]


def test_an_edit_keeps_the_former_text(edit):
    before = _text(edit("Second"))
    record = edit("Third")
    assert (_text(record), record.version, record.revision) == ("Third", 3, 1)
    assert before == "Second"
    [(_, first), *others] = _versions(record)
    assert first in ("Post 0", "Welcome")
    assert others == [(2, "Second")]


def test_nor_is_a_number_that_is_written_like_the_text(edit):
    assert [edit(5).version for _ in range(2)] == [2, 2]


def test_the_same_text_is_no_edit(edit):
    record = edit("Second")
    assert edit("Second").version == record.version == 2
    assert len(_versions(record)) == 1
    assert Signal.objects.filter(name__endswith=".edited").count() == 1


def test_each_edit_leaves_a_signal_without_the_text(edit):
    edit("Second words")
    record = edit("Third words")
    signals = Signal.objects.filter(name=f"{record.SUBJECT_TYPE}.edited")
    assert [one.payload for one in signals] == [{"version": 2}, {"version": 3}]
    assert {(one.actor, one.subject) for one in signals} == {(TESTER, record.subject)}
    assert {one.member_id for one in signals} == {getattr(record, "member_id", None)}


@pytest.mark.parametrize("text", ["", "a\x00", "x" * 20_001])
def test_a_wrong_text_changes_nothing(edit, text):
    with pytest.raises(ValidationError) as refused:
        edit(text)
    assert refused.value.message_dict.keys() <= {"content", "title"}
    assert not ContentVersion.objects.exists()
    assert not Signal.objects.exists()


def test_edits_at_the_same_time_are_versions_of_their_own(edit):
    results = in_threads(*(partial(edit, f"Edit {n}") for n in range(4)))
    assert not [one for one in results if isinstance(one, Exception)]
    record = edit("Last")
    kept = _versions(record)
    assert [version for version, _ in kept] == [1, 2, 3, 4, 5]
    assert {text for _, text in kept[1:]} == {f"Edit {n}" for n in range(4)}


def test_an_edit_waits_for_whoever_holds_the_record(forum):
    post = forum.posts[0]
    with ExitStack() as stack, transaction.atomic():
        Post.objects.filter(pk=post.pk).update(content="Changed")
        results = stack.enter_context(meanwhile(partial(content.edit_post, post, "Second", actor=TESTER)))
        wait_until(somebody_waits, "the edit waits")
    assert results[0].version == 2
    assert _versions(post) == [(1, "Changed")]


def test_a_version_is_kept_once(forum):
    options = {"subject_type": "forum.post", "subject_id": "1", "version": 1, "text": "x"}
    ContentVersion.objects.create(**options)
    with pytest.raises(IntegrityError):
        ContentVersion.objects.create(**options)


def test_what_is_gone_is_an_error(forum):
    with pytest.raises(Post.DoesNotExist):
        content.edit_post(Post(pk=forum.thread.pk), "Hello", actor=TESTER)
    assert not Signal.objects.exists()


def test_without_a_tenant_nothing_is_edited(database):
    with in_tenant("alpha"):
        forum = make_forum()
    with pytest.raises(NoActiveTenant):
        content.edit_post(forum.posts[0], "Hello", actor=TESTER)
    with pytest.raises(NoActiveTenant):
        content.edit_posts("import", {"1": "Hello"}, actor=TESTER)


def test_in_bulk_only_other_texts_of_the_source_are_edits(forum):
    made = {
        (source, pk): forums.post.make(
            thread=forum.thread, content=f"{source} {pk}", source=source, external_id=pk
        )
        for source in ("old", "older")
        for pk in "abc"
    }
    edited = content.edit_posts("old", {"a": "New", "b": "old b", "nowhere": "New"}, actor=TESTER)
    assert edited == {made["old", "a"].pk}
    assert set(Post.objects.filter(version=2).values_list("source", "external_id", "content")) == {
        ("old", "a", "New")
    }


def test_in_bulk_the_number_of_statements_does_not_grow(forum):
    def statements(number):
        ids = [f"{number} {n}" for n in range(number)]
        for pk in ids:
            forums.post.make(thread=forum.thread, external_id=pk)
        with CaptureQueriesContext(connection) as captured:
            assert len(content.edit_posts("import", dict.fromkeys(ids, "New"), actor=TESTER)) == number
        return len(captured)

    assert statements(50) == statements(1)


def test_new_records_are_their_first_version(forum):
    assert {record.version for record in [*Thread.objects.all(), *Post.objects.all()]} == {1}
    assert not ContentVersion.objects.exists()


@pytest.mark.parametrize("is_group", [False, True])
def test_what_restricts_names_the_version_that_it_judged(forum, is_group):
    posts = forum.posts[:2]
    content.edit_post(posts[0], "Spam", actor=TESTER)
    asked = [ask("forum.post.hide", {"post_id": str(post.pk)}).directive for post in posts]
    if is_group:
        runner.run_due()
    for one, version in zip(asked, (2, 1), strict=True):
        if not is_group:
            run(one)
        one.refresh_from_db()
        hidden = Signal.objects.get(name="forum.post.hidden", causation_id=str(one.pk))
        assert (one.result["version"], hidden.payload["version"]) == (version, version)
    content.edit_post(posts[0], "Fine again", actor=TESTER)
    unhide = ask("forum.post.unhide", {"post_id": str(posts[0].pk)}).directive
    run(unhide)
    assert (unhide.result["version"], unhide.result["revision"]) == (3, 3)


def test_what_counts_no_versions_has_none(alpha, monkeypatch):
    columns = (RestrictedColumn("status", "open", {"hidden": "hidden"}),)
    monkeypatch.setattr(Shelf, "RESTRICTED_COLUMNS", columns, raising=False)
    baker.make(Shelf, name="fiction")
    directive = directives.directive.make(subject_type="library.shelf", subject_id="fiction")
    [change] = restrictions.change_all([Wanted(directive, None, lambda _: Plan(begin="hidden"))])
    assert (change.after, change.version) == ({"status": "hidden"}, None)
