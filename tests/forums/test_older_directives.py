"""The migration that gives scope and member to the directives that were there before the columns."""

from importlib import import_module

from django.db import connection

from signals.models import Signal
from tests.recipes import directives
from tests.support import ABSENT, written_by


def test_directives_that_were_there_get_scope_and_member_in_batches(forum, monkeypatch):
    migration = import_module("forums.migrations.0007_scopes_of_directives")
    monkeypatch.setattr(migration, "BATCH_ROWS", 2)
    post, thread, category = forum.posts[0], forum.thread, forum.category
    ann = written_by("ann", post).pk
    place = str(category.pk)
    wanted = [
        ("forum.post", str(post.pk), "", None, place, ann),
        ("forum.post", str(forum.posts[1].pk), "", None, place, forum.posts[1].member_id),
        ("forum.post", str(post.pk), "elsewhere", None, "elsewhere", ann),
        ("forum.thread", str(thread.pk), "", None, place, None),
        ("forum.category", str(category.pk), "", None, place, None),
        ("forum.post", ABSENT, "", None, "", None),
        ("forum.post", "no id", "", None, "", None),
        ("forum.post", str(thread.pk), "", None, "", None),
        ("zoo.animal", str(post.pk), "", None, "", None),
        ("", "", "", None, "", None),
    ]
    made = [
        directives.directive.make(subject_type=kind, subject_id=pk, scope=scope, member_id=member)
        for kind, pk, scope, member, *_ in wanted
    ]
    told = set(Signal.objects.values_list("pk", "member_id"))
    for _ in range(2):
        with connection.schema_editor(atomic=False) as editor:
            migration.fill(None, editor)
        for directive, (*_, scope, member) in zip(made, wanted, strict=True):
            directive.refresh_from_db()
            assert (directive.scope, directive.member_id) == (scope, member), directive.subject
    assert set(Signal.objects.values_list("pk", "member_id")) == told
