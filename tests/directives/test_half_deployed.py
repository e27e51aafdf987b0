"""Workers of an older version beside a migrated database, and of a newer one before its migration."""

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from directives.outcomes import Kind
from forums.models import Thread
from tests.docs.pages import DOCS, blocks
from tests.support import ask, make_due, owner_cursor, run

GUIDE = DOCS / "guides/add-a-directive.md"


def adding_the_column_of_the_guide():
    """Return the statement by which a migration adds the field of add-a-directive.md to threads."""
    [block] = [block for block in blocks(GUIDE) if "pinned = " in block.text]
    names = {}
    exec(block.text, names)  # noqa: S102
    field = names["pinned"]
    field.model = Thread
    field.set_attributes_from_name("pinned")
    with connection.schema_editor(collect_sql=True) as editor:
        editor.add_field(Thread, field)
    [statement] = editor.collected_sql
    return statement


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
        cursor.execute(adding_the_column_of_the_guide())
        try:
            moderate(forum, 6)
            thread = Thread.objects.create(category=forum.category, title="New")
            cursor.execute("SELECT DISTINCT pinned FROM forums_thread")
            assert cursor.fetchall() == [(False,)]
            assert (thread.status, forum.thread.posts.count()) == ("open", 10)
        finally:
            cursor.execute("ALTER TABLE forums_thread DROP COLUMN pinned")


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
