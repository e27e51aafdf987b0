"""Database constraints on categories, threads and posts, which hold without Python's checks."""

from uuid import uuid4

import pytest
from django.db import IntegrityError, connection

from fleetprompt.tenants.context import in_tenant
from forums.models import CONTENT_LENGTH, Category, Post, Thread
from tests.recipes import forums
from tests.support import make_forum


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("post", "status", "gone"),
        ("post", "status", ""),
        ("post", "author_type", "robot"),
        ("post", "content", ""),
        ("post", "content", "x" * (CONTENT_LENGTH + 1)),
        ("post", "revision", -1),
        ("thread", "status", "closed"),
        ("thread", "title", ""),
        ("thread", "revision", -1),
    ],
)
def test_a_raw_update_meets_the_limits(forum, table, column, value):
    with pytest.raises(IntegrityError), connection.cursor() as cursor:
        cursor.execute(f"UPDATE forums_{table} SET {column} = %s", [value])
    assert not _model(table).objects.filter(**{column: value}).exists()


@pytest.mark.parametrize(
    ("column", "value"),
    [("status", "gone"), ("author_type", "robot"), ("content", ""), ("content", "ä" * 20_001)],
)
def test_a_raw_insert_meets_the_limits(forum, column, value):
    with pytest.raises(IntegrityError), connection.cursor() as cursor:
        _insert_post(cursor, forum, **{column: value})
    assert Post.objects.count() == 3


@pytest.mark.parametrize("content", ["x", "ä" * CONTENT_LENGTH, "😀" * CONTENT_LENGTH, "\n"])
def test_content_is_counted_in_characters(forum, content):
    with connection.cursor() as cursor:
        _insert_post(cursor, forum, content=content)
    assert Post.objects.filter(content=content).exists()


@pytest.mark.parametrize("model", [Category, Thread, Post])
def test_an_external_id_is_unique_in_its_source_and_may_be_missing(forum, model):
    first, second = model.objects.first(), _another(model, forum)
    assert {first.source, second.source, first.external_id} == {"import", None}
    model.objects.filter(pk=first.pk).update(external_id="x")
    with pytest.raises(IntegrityError):
        model.objects.filter(pk=second.pk).update(external_id="x")
    assert model.objects.filter(external_id=None).exists()
    model.objects.filter(pk=second.pk).update(source="elsewhere", external_id="x")
    assert model.objects.filter(external_id="x").count() == 2


def test_an_external_id_may_be_known_to_two_tenants(database):
    for slug in ("alpha", "beta"):
        with in_tenant(slug):
            Post.objects.filter(pk=make_forum().posts[0].pk).update(external_id="x")
            assert Post.objects.filter(external_id="x").count() == 1


def test_a_directive_leaves_one_post(forum):
    directive_id = uuid4()
    Post.objects.filter(pk=forum.posts[0].pk).update(directive_id=directive_id)
    with pytest.raises(IntegrityError):
        Post.objects.filter(pk=forum.posts[1].pk).update(directive_id=directive_id)


def test_a_category_with_threads_stays(forum):
    with pytest.raises(IntegrityError):
        forum.category.delete()


def test_posts_come_in_the_order_of_their_making(forum):
    assert [post.content for post in forum.thread.posts.all()] == ["Post 0", "Post 1", "Post 2"]


def test_a_record_is_a_subject(forum):
    post = forum.posts[0]
    assert str(post.subject) == f"forum.post:{post.pk}"
    assert (forum.thread.subject.type, forum.category.subject.type) == ("forum.thread", "forum.category")
    assert [str(forum.category), str(forum.thread), str(post)] == ["General", "Welcome", "Post 0"]


def _model(table):
    return {"post": Post, "thread": Thread}[table]


def _another(model, forum):
    if model is Category:
        return forums.category.make()
    if model is Thread:
        return forums.thread.make(category=forum.category)
    return forum.posts[1]


def _insert_post(cursor, forum, **columns):
    values = {
        "id": uuid4(),
        "thread_id": forum.thread.pk,
        "content": "Raw",
        "status": "published",
        "author_type": "human",
        "author_id": "ann",
        "author_label": "",
        "member_id": forum.posts[0].member_id,
        "revision": 1,
        **columns,
    }
    marks = ", ".join(["%s"] * len(values))
    cursor.execute(f"INSERT INTO forums_post ({', '.join(values)}) VALUES ({marks})", [*values.values()])
