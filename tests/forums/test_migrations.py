"""Posts from before there were members and sources: each gets its author's member, and none is lost."""

from importlib import import_module
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from fleetprompt.postgres.owner import as_owner
from fleetprompt.tenants import plans
from fleetprompt.tenants.context import in_tenant
from fleetprompt.tenants.provisioning import create_tenant
from forums import content
from forums.models import Category, Member, Post, Thread
from tests.support import TESTER, owner_cursor

_POST = """
INSERT INTO org_harbor.forums_post
    (id, thread_id, content, status, author_type, author_id, author_label, external_id, revision)
VALUES (%s, %s, 'Ahoy', 'hidden', %s, %s, %s, %s, 1)
"""


@pytest.fixture
def harbor(database, monkeypatch):
    """A tenant as it was before, with 60 posts of 7 authors, in more than one batch."""
    monkeypatch.setattr(import_module("forums.migrations.0005_members_of_posts"), "BATCH_ROWS", 25)
    create_tenant("harbor", name="Harbor", domain="harbor.localhost")
    with in_tenant("harbor"):
        category = content.create_category("general", "General", actor=TESTER, external_id="1")
        thread = content.create_thread(category, "Welcome", actor=TESTER, external_id="1")
    call_command("migrate_schemas", "forums", "0003_lasting_columns", tenant="harbor", verbosity=0)
    with owner_cursor() as cursor:
        for n in range(60):
            author = ("agent", "a0", "") if n % 7 == 6 else ("human", f"a{n % 7}", "" if n < 50 else "Ann")
            cursor.execute(_POST, [uuid4(), thread.pk, *author, str(n) if n % 2 else None])


def _check():
    with in_tenant("harbor"):
        posts = list(Post.objects.select_related("member"))
        assert len(posts) == 60
        assert Member.objects.count() == 7
        for post in posts:
            assert (post.member.author_type, post.member.author_id) == (post.author_type, post.author_id)
            assert (post.source, post.version, post.status, post.revision) == ("import", 1, "hidden", 1)
        records = [*Category.objects.all(), *Thread.objects.all()]
        assert {(one.source, one.external_id) for one in records} == {("import", "1")}
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT conname, convalidated FROM pg_constraint WHERE conrelid = 'forums_post'::regclass"
            )
            constraints = dict(cursor.fetchall())
        assert all(constraints.values())
        assert {"post_member_and_author", "post_external_id"} <= constraints.keys()
        assert "post_member_given" not in constraints


def test_posts_get_the_members_of_their_authors(harbor):
    call_command("migrate_schemas", tenant="harbor", verbosity=0)
    _check()


def test_a_migration_that_was_interrupted_goes_on(harbor):
    with owner_cursor() as cursor:
        cursor.execute("CREATE TABLE org_harbor.post_external_id ()")
    with pytest.raises(CommandError, match="1 of 1 tenants failed"):
        call_command("migrate_schemas", tenant="harbor", verbosity=0)
    with owner_cursor() as cursor:
        cursor.execute("DROP TABLE org_harbor.post_external_id")
    call_command("migrate_schemas", tenant="harbor", verbosity=0)
    _check()


def test_a_tenant_that_is_restored_is_migrated_in_one_transaction(harbor):
    with as_owner(), transaction.atomic():
        plans.migrate("org_harbor")
    _check()


def test_until_then_no_new_post_comes_without_a_member(harbor):
    call_command("migrate_schemas", "forums", "0004_versions_and_sources", tenant="harbor", verbosity=0)
    with owner_cursor() as cursor:
        cursor.execute("SELECT id FROM org_harbor.forums_thread")
        row = [uuid4(), cursor.fetchone()[0], "human", "ann", "", None]
        with pytest.raises(Exception, match="post_member_given"):
            cursor.execute(_POST, row)
