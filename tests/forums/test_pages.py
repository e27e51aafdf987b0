"""Public pages: published posts, a note in place of others, and escaped markup."""

from uuid import uuid4

import pytest
from django.test import Client

from forums.models import Post, Thread
from forums.web.views import POSTS_PER_PAGE
from tests.recipes import forums


@pytest.fixture
def get(forum):
    def get(path, expected=200):
        page = Client().get(path, headers={"host": "alpha.localhost"})
        assert page.status_code == expected
        return page.content.decode()

    return get


@pytest.fixture
def path(forum):
    return f"/threads/{forum.thread.pk}/"


def test_published_posts_are_shown_in_their_order(get, path):
    page = get(path)
    assert page.index("Post 0") < page.index("Post 1") < page.index("Post 2")
    assert "ann" in page


@pytest.mark.parametrize("status", ["hidden", "deleted"])
def test_other_posts_leave_a_note_and_not_their_text(get, path, forum, status):
    Post.objects.filter(pk=forum.posts[1].pk).update(status=status)
    page = get(path)
    assert f"This post was {status} by moderation" in page
    assert "Post 1" not in page
    assert "Post 0" in page
    assert "Post 2" in page


def test_a_pending_post_leaves_a_note(get, path, forum):
    Post.objects.filter(pk=forum.posts[1].pk).update(status="pending")
    page = get(path)
    assert "This post waits for a moderator" in page
    assert "Post 1" not in page


def test_a_hidden_thread_leaves_no_trace(get, path, forum):
    Thread.objects.filter(pk=forum.thread.pk).update(is_hidden=True)
    assert forum.thread.title not in get("/")
    get(path, expected=404)


def test_the_index_counts_published_posts(get, forum):
    Post.objects.filter(pk=forum.posts[0].pk).update(status="hidden")
    assert "2 posts" in get("/")


def test_the_newest_thread_comes_first(get, forum):
    titles = [f"Thread {number}" for number in range(5)]
    for title in titles:
        forums.thread.make(category=forum.category, title=title)
    page = get("/")
    places = [page.index(title) for title in [*reversed(titles), "Welcome"]]
    assert places == sorted(places)


@pytest.mark.parametrize(("status", "badge"), [("open", False), ("locked", True), ("archived", True)])
def test_a_thread_that_is_not_open_says_so(get, path, forum, status, badge):
    Thread.objects.filter(pk=forum.thread.pk).update(status=status)
    assert (f'<span class="badge">{status.title()}</span>' in get(path)) is badge
    assert (f'<span class="badge">{status.title()}</span>' in get("/")) is badge


def test_markup_in_posts_is_text(get, path, forum):
    nasty = "<script>alert(1)</script>"
    forums.post.make(thread=forum.thread, content=nasty, author_id=nasty, author_label=nasty)
    page = get(path)
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(1)") == 2


def test_posts_of_agents_are_marked(get, path, forum):
    assert "Agent" not in get(path)
    forums.post.make(thread=forum.thread, content="Hi", author_id="bot", author_type="agent")
    assert '<span class="badge">Agent</span>' in get(path)


def test_long_threads_have_pages(get, path, forum):
    for number in range(POSTS_PER_PAGE):
        forums.post.make(thread=forum.thread, content=f"More {number}.")
    assert "Page 1 of 2" in get(path)
    assert "More 49." not in get(path)
    assert "More 49." in get(f"{path}?page=2")
    assert "More 49." in get(f"{path}?page=999")
    assert "Post 0" in get(f"{path}?page=nonsense")


def test_what_is_not_there_is_not_found(get):
    get(f"/threads/{uuid4()}/", expected=404)
    get("/threads/nonsense/", expected=404)


def test_an_empty_thread_and_an_empty_forum_say_so(get, forum):
    empty = forums.thread.make(category=forum.category, title="Silence")
    assert "No posts yet" in get(f"/threads/{empty.pk}/")
    Thread.objects.all().delete()
    assert "No threads yet" in get("/")
