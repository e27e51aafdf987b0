"""New categories, threads and posts: validation, rows, and one signal each."""

from datetime import UTC, datetime

import pytest
from django.core.exceptions import ValidationError
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleetprompt.tenants.context import NoActiveTenant
from forums import content
from forums.models import CONTENT_LENGTH, TITLE_LENGTH, Category, Post, Thread
from signals.models import Signal
from tests.support import TESTER, create_forum, owner_cursor

STORABLE = st.characters(exclude_characters="\x00", exclude_categories=["Cs"])


@pytest.fixture
def forum(alpha):
    """The sample forum with the signals of its making, which these tests look at."""
    return create_forum()


@pytest.mark.parametrize("part", ["category", "thread", "post"])
def test_each_new_record_leaves_one_signal_about_itself(forum, part):
    record = forum.posts[1] if part == "post" else getattr(forum, part)
    [signal] = Signal.objects.filter(name=f"forum.{part}.created", subject_id=str(record.pk))
    assert signal.dedupe_key == f"forum.{part}.created:alpha:{record.pk}"
    assert (signal.actor, signal.subject, signal.source) == (TESTER, record.subject, "forums")
    assert signal.causation_id == ""


def test_the_signals_say_what_was_made(forum):
    payloads = {s.name: s.payload for s in Signal.objects.all()}
    assert payloads["forum.category.created"] == {"slug": "general", "name": "General"}
    assert payloads["forum.thread.created"] == {"title": "Welcome", "category_id": str(forum.category.pk)}
    assert Signal.objects.get(name="forum.thread.created").personal.keys() == {"title"}
    assert payloads["forum.post.created"] == {
        "thread_id": str(forum.thread.pk),
        "author_type": "human",
        "author_id": "ann",
    }


def test_a_post_keeps_what_is_known_of_its_origin(forum):
    when = datetime(2013, 11, 7, 6, 20, tzinfo=UTC)
    post = _post(forum, author_label="Ann", author_type="system", posted_at=when, external_id="c-1")
    post.refresh_from_db()
    assert (post.author_label, post.author_type) == ("Ann", "system")
    assert (post.posted_at, post.external_id) == (when, "c-1")
    assert (post.status, post.revision, post.directive_id) == ("published", 1, None)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda forum: content.create_category("general", "Again", actor=TESTER), "slug"),
        (lambda forum: content.create_category("no slug", "Name", actor=TESTER), "slug"),
        (lambda forum: content.create_category("s" * 51, "Name", actor=TESTER), "slug"),
        (lambda forum: content.create_category("other", "", actor=TESTER), "name"),
        (lambda forum: content.create_thread(forum.category, "", actor=TESTER), "title"),
        (lambda forum: content.create_thread(forum.category, "t" * 201, actor=TESTER), "title"),
        (lambda forum: _post(forum, ""), "content"),
        (lambda forum: _post(forum, "x" * (CONTENT_LENGTH + 1)), "content"),
        (lambda forum: _post(forum, "a\x00b"), "content"),
        (lambda forum: _post(forum, "\ud800"), "content"),
        (lambda forum: _post(forum, external_id="\x00"), "external_id"),
        (lambda forum: content.create_thread(forum.category, "\x00", actor=TESTER), "title"),
        (lambda forum: _post(forum, author_type="robot"), "author_type"),
        (lambda forum: _post(forum, author_id=""), "author_id"),
        (lambda forum: _post(forum, author_id="a" * 256), "author_id"),
        (lambda forum: _post(forum, external_id="e" * 256), "external_id"),
    ],
)
def test_what_is_wrong_is_refused_by_its_field_and_leaves_nothing(forum, make, field):
    before = _counts()
    with pytest.raises(ValidationError) as refused:
        make(forum)
    assert field in refused.value.message_dict
    assert _counts() == before


def test_a_known_external_id_is_refused(forum):
    _post(forum, external_id="c-1")
    with pytest.raises(ValidationError) as refused:
        _post(forum, external_id="c-1")
    assert refused.value.message_dict.keys() == {"external_id"}
    assert _post(forum, external_id="c-1", source="elsewhere").source == "elsewhere"


def test_the_same_external_ids_come_from_two_sources(forum):
    for source in ("old", "older"):
        category = content.create_category(source, "News", actor=TESTER, source=source, external_id="1")
        thread = content.create_thread(category, "News", actor=TESTER, source=source, external_id="1")
        content.create_post(thread, "1", actor=TESTER, author_id="ann", source=source, external_id="1")
    posts = [
        Post(thread=thread, content="2", author_id="ann", source=s, external_id="1") for s in ("old", "new")
    ]
    assert content.store_new_posts(posts, actor=TESTER) == {posts[1].pk}


def test_record_and_signal_come_together_or_not_at_all(forum):
    with owner_cursor() as cursor:
        cursor.execute(
            "ALTER TABLE signals_signal ADD CONSTRAINT mute CHECK (source <> 'forums') NOT VALID"
        )
    try:
        with pytest.raises(Exception, match="mute"):
            _post(forum, "Unheard")
    finally:
        with owner_cursor() as cursor:
            cursor.execute("ALTER TABLE signals_signal DROP CONSTRAINT mute")
    assert not Post.objects.filter(content="Unheard").exists()


def test_it_belongs_to_the_callers_transaction(forum):
    before = _counts()
    with transaction.atomic():
        _post(forum)
        transaction.set_rollback(True)
    assert _counts() == before


def test_without_a_tenant_nothing_is_made(database):
    with pytest.raises(NoActiveTenant):
        content.create_category("general", "General", actor=TESTER)
    with pytest.raises(NoActiveTenant):
        content.store_new_posts([Post(content="Hello", author_id="ann")], actor=TESTER)


def test_in_bulk_a_known_id_is_left_out_and_the_first_of_two_wins(forum):
    _post(forum, "Known", external_id="a")
    before = _counts()
    posts = [_unsaved(forum, "Again", "a"), _unsaved(forum, "First", "b"), _unsaved(forum, "Second", "b")]
    assert content.store_new_posts(posts, actor=TESTER) == {posts[1].pk}
    assert set(Post.objects.exclude(external_id=None).values_list("content", flat=True)) == {
        "Known",
        "First",
    }
    assert _counts() == {**before, "posts": before["posts"] + 1, "signals": before["signals"] + 1}
    assert Signal.objects.filter(subject_id=str(posts[1].pk)).count() == 1


def test_in_bulk_nothing_is_stored_of_nothing(forum):
    assert content.store_new_posts([], actor=TESTER) == set()


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(STORABLE, min_size=1, max_size=TITLE_LENGTH), st.text(STORABLE, min_size=1))
def test_any_text_within_the_limits_comes_back_as_it_was(forum, title, text):
    thread = content.create_thread(forum.category, title, actor=TESTER)
    post = content.create_post(thread, text, actor=TESTER, author_id="ann")
    assert Thread.objects.get(pk=thread.pk).title == title
    assert Post.objects.get(pk=post.pk).content == text


def _post(forum, text="Hello", **options):
    return content.create_post(forum.thread, text, **{"actor": TESTER, "author_id": "ann", **options})


def _unsaved(forum, text, external_id):
    return Post(thread=forum.thread, content=text, author_id="ann", external_id=external_id)


def _counts():
    return {
        "categories": Category.objects.count(),
        "threads": Thread.objects.count(),
        "posts": Post.objects.count(),
        "signals": Signal.objects.count(),
    }
