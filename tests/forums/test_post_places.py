"""A post's public address is its place in the thread, because imported posts may share one time."""

import html
import re

import pytest
from django.db.models.functions import Now
from django.test import Client

from fleetprompt.tenants.context import in_tenant
from forums.models import Post
from forums.web.views import POSTS_PER_PAGE
from tests.admin import client_of
from tests.support import make_forum


def numbers(size):
    """Return places at the ends of pages, and one in the middle."""
    return [n for n in (0, 49, 50, 99, 120, 150, 179, 209) if n < size]


@pytest.mark.parametrize("first", [0, 30])
def test_it_is_on_the_page_that_shows_it(database, first):
    client = client_of("ann", group="Auditor")
    with in_tenant("alpha"):
        forum = make_forum(180 + first)
        Post.objects.filter(pk__in=[post.pk for post in forum.posts[first:]]).update(created_at=Now())
        ordered = list(forum.thread.posts.all())
    for number in numbers(len(ordered)):
        page = client.text(f"forums/post/{ordered[number].pk}/change/")
        url = html.unescape(re.search(r'href="(/threads/[^"]+)"', page)[1])
        assert int(re.search(r"page=(\d+)", url)[1]) == number // POSTS_PER_PAGE + 1
        page = Client().get(url.partition("#")[0], headers={"host": "alpha.localhost"})
        assert f'id="post-{ordered[number].pk}"' in page.content.decode()
