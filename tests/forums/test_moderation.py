"""Records found under a lock: who waits for whom."""

import threading

import pytest
from django.db import connection, transaction

from fleetprompt.tenants.context import in_tenant
from forums import moderation
from forums.models import Thread
from tests.recipes import forums
from tests.support import somebody_waits, wait_until


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


def _in_transaction(change, **options):
    with transaction.atomic():
        return change(**options)
