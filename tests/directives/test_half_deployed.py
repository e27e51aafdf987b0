"""Workers of an older version beside a migrated database, and of a newer one before its migration."""

from datetime import timedelta

import pytest
from django.utils import timezone

from directives.outcomes import Kind
from forums.models import Post, Thread
from tests.support import ask, make_due, owner_cursor, run

PINNED = "ADD COLUMN pinned boolean DEFAULT false NOT NULL"
"""What Django makes of `BooleanField(default=False, db_default=False)`."""


def moderate(forum, number):
    """Execute a directive of each kind that reads or writes threads and posts."""
    thread, post = {"thread_id": str(forum.thread.pk)}, {"post_id": str(forum.posts[0].pk)}
    said = {**thread, "content": "Hi", "author_id": "bot", "client_request_id": str(number)}
    for name, payload in [
        ("forum.post.create", said),
        ("forum.thread.lock", thread),
        ("forum.thread.unlock", thread),
        ("forum.post.hide", post),
        ("forum.post.unhide", post),
    ]:
        assert run(ask(name, payload).directive).kind == Kind.SUCCEEDED


def test_workers_of_older_code_go_on_beside_a_new_column(forum):
    # More often than it takes until a driver prepares a statement.
    for number in range(6):
        moderate(forum, number)
    with owner_cursor() as cursor:
        for table in ("forums_thread", "forums_post"):
            cursor.execute(f"ALTER TABLE {table} {PINNED}")
        try:
            moderate(forum, 6)
            assert Thread.objects.create(category=forum.category, title="New").revision == 1
            assert Post.objects.count() == 10
        finally:
            for table in ("forums_thread", "forums_post"):
                cursor.execute(f"ALTER TABLE {table} DROP COLUMN pinned")


@pytest.mark.parametrize(
    ("away", "back"),
    [
        (
            "ALTER TABLE forums_thread RENAME COLUMN revision TO gone",
            "ALTER TABLE forums_thread RENAME COLUMN gone TO revision",
        ),
        ("ALTER TABLE forums_thread RENAME TO gone", "ALTER TABLE gone RENAME TO forums_thread"),
    ],
    ids=["column", "table"],
)
def test_a_worker_of_newer_code_tries_again_after_the_migration(forum, away, back):
    directive = ask("forum.thread.lock", {"thread_id": str(forum.thread.pk)}).directive
    with owner_cursor() as cursor:
        cursor.execute(away)
        try:
            outcome = run(directive)
        finally:
            cursor.execute(back)
    assert outcome.kind == Kind.RETRY_SCHEDULED
    assert "does not exist" in directive.last_error
    assert directive.scheduled_at > timezone.now() + timedelta(seconds=20), "a deploy takes minutes"
    make_due(directive)
    assert run(directive).kind == Kind.SUCCEEDED
