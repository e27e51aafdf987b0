"""Two tenants with the same ids, keys and subjects: neither affects the other."""

import pytest
from django.db import connection

from directives import runner, tasks
from directives.models import Directive
from directives.outcomes import Kind
from fleetprompt.tenants.context import in_tenant, is_public
from forums.models import Category, Member, Post, Thread
from signals.models import Signal
from tests.support import TENANTS, ask, ask_animal, claim, make_forum, owner_cursor, run, states

EVERYTHING = (Category, Thread, Member, Post, Directive, Signal)


def rows():
    """Return every row of the active tenant."""
    return {model.__name__: list(model.objects.order_by("pk").values()) for model in EVERYTHING}


@pytest.fixture
def twins(database):
    """Give both tenants the same forum, ids and all; return the id of its first post."""
    with in_tenant("alpha"):
        forum = make_forum()
        copies = [list(model.objects.all()) for model in (Category, Thread, Member, Post)]
    with in_tenant("beta"):
        for copy in copies:
            type(copy[0]).objects.bulk_create(copy)
    return forum.posts[0].pk


def test_a_directive_changes_its_own_tenants_post_only(twins):
    with in_tenant("beta"):
        before = rows()
    with in_tenant("alpha"):
        assert run(ask("forum.post.hide", {"post_id": str(twins)}).directive).kind == Kind.SUCCEEDED
        assert Post.objects.get(pk=twins).status == "hidden"
    with in_tenant("beta"):
        assert rows() == before


def test_the_same_request_is_one_directive_in_each_tenant(twins):
    made = []
    for slug in TENANTS:
        with in_tenant(slug):
            for key in (None, "the caller's own"):
                asked = ask("forum.post.hide", {"post_id": str(twins)}, idempotency_key=key)
                assert asked.created
                made.append(asked.directive)
    assert len({directive.pk for directive in made}) == 4


def test_a_wake_up_works_in_its_own_tenant_only(twins):
    for slug in TENANTS:
        with in_tenant(slug):
            ask("forum.post.hide", {"post_id": str(twins)})
    assert tasks.work("beta") == 1
    with in_tenant("alpha"):
        assert Post.objects.get(pk=twins).status == "published"
        assert not Signal.objects.filter(name="directive.started").exists()
    with in_tenant("beta"):
        assert Post.objects.get(pk=twins).status == "hidden"


def test_an_id_of_another_tenant_fails_and_changes_nothing_there(database):
    with in_tenant("beta"):
        post = make_forum().posts[0]
        before = rows()
    with in_tenant("alpha"):
        directive = ask("forum.post.hide", {"post_id": str(post.pk)}).directive
        assert run(directive).kind == Kind.FAILED
        assert "in this tenant" in directive.last_error
    with in_tenant("beta"):
        assert rows() == before


def test_another_tenants_directive_cannot_be_run(database):
    with in_tenant("beta"):
        directive = ask_animal("work")
    with in_tenant("alpha"):
        assert runner.run(directive.id).kind == Kind.DISCARDED
    with in_tenant("beta"):
        assert states(directive) == ["requested"]


def test_one_tenants_line_does_not_hold_up_the_other(database):
    with in_tenant("alpha"):
        held_up, running = ask_animal("work"), ask_animal("work", "dog")
        claim(held_up)
        claim(running)
        ask_animal("work")
        assert runner.run_due() == []
    with in_tenant("beta"):
        asked = [ask_animal("work", animal) for animal in ("cat", "cat", "dog")]
        assert len(runner.run_due()) == len(asked)


@pytest.mark.parametrize("animal", ["work", "crash", "escape", "hang", "hibernate", "doze", "swallow"])
def test_a_worker_is_back_in_the_public_schema_whatever_a_handler_did(database, animal):
    with in_tenant("alpha"):
        directive = ask_animal(animal, times=9, note="and crash" if animal == "escape" else "")
    assert tasks.work("alpha") == 1
    assert is_public()
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_schema(), txid_current_if_assigned()")
        assert cursor.fetchone() == ("public", None)
    with in_tenant("alpha"):
        assert states(directive) != ["running"]


def test_a_worker_is_back_in_the_public_schema_when_the_time_slice_itself_fails(database):
    with in_tenant("alpha"):
        ask_animal("work")
        with owner_cursor() as cursor:
            cursor.execute("ALTER TABLE directives_directive RENAME TO directives_gone")
    try:
        with pytest.raises(Exception, match="directives_directive"):
            tasks.work("alpha")
        assert is_public()
        assert tasks.work("beta") == 0
    finally:
        with in_tenant("alpha"), owner_cursor() as cursor:
            cursor.execute("ALTER TABLE directives_gone RENAME TO directives_directive")
    assert tasks.work("alpha") == 1
