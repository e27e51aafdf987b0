"""Scope and member of directives: read with the request, whatever the subject's type and key."""

from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from model_bakery import baker
from psycopg import _queries

from directives import registry, runner
from directives.errors import Refused
from directives.handlers import Context
from directives.models import Directive
from directives.requests import DirectiveRequest, request_each, request_many
from fleetprompt.postgres.queries import execute, fetch_all
from forums.models import Post, Thread
from signals.types import Subject
from tests.library.models import Atlas, Book
from tests.recipes import forums
from tests.support import ABSENT, TESTER, ask, run, written_by


@pytest.fixture
def ann(forum):
    """The author of the forum's first post."""
    return written_by("ann", forum.posts[0])


def belongs(directive):
    """Return scope and member of a directive as they were returned, which is as they are stored."""
    stored = Directive.objects.get(pk=directive.pk)
    assert (directive.scope, directive.member_id) == (stored.scope, stored.member_id)
    return stored.scope, stored.member_id


def about(forum, ann):
    """Return what is requested about the forum, with the expected scope and member."""
    post, thread, category = str(forum.posts[0].pk), str(forum.thread.pk), str(forum.category.pk)
    other = str(forums.category.make().pk)
    restriction = {
        "restriction_id": ABSENT,
        "subject": {"type": "forum.post", "id": post},
    }
    text = {"content": "Hello", "author_id": "bot", "client_request_id": "1"}
    return [
        ("forum.post.hide", {"post_id": post}, category, ann.pk),
        ("forum.post.hide", {"post_id": str(forum.posts[1].pk)}, category, forum.posts[1].member_id),
        ("forum.thread.lock", {"thread_id": thread}, category, None),
        ("forum.thread.move", {"thread_id": thread, "category_id": other}, category, None),
        ("forum.post.create", {"thread_id": thread, **text}, category, None),
        ("restriction.end", restriction, category, ann.pk),
        ("restriction.reschedule", restriction, category, ann.pk),
        ("forum.post.hide", {"post_id": ABSENT}, "", None),
        ("restriction.end", {**restriction, "subject": {"type": "forum.post", "id": "no id"}}, "", None),
        ("restriction.end", {**restriction, "subject": {"type": "no.type", "id": post}}, "", None),
        (
            "restriction.end",
            {**restriction, "subject": {"type": "library.atlas", "id": "9" * 30}},
            "",
            None,
        ),
        ("zoo.animal.work", {"animal": "cat"}, "", None),
    ]


@pytest.mark.parametrize("key", ["own", None])
def test_a_single_request_has_them(forum, ann, key):
    for number, (name, payload, *expected) in enumerate(about(forum, ann)):
        options = {"idempotency_key": f"{number}"} if key else {}
        assert belongs(ask(name, payload, **options).directive) == tuple(expected), name


@pytest.mark.parametrize("key", ["own", None])
def test_many_of_different_types_have_them(forum, ann, key):
    asked = about(forum, ann)
    items = [
        DirectiveRequest(name, payload, idempotency_key=f"{number}" if key else None)
        for number, (name, payload, *_) in enumerate(asked)
    ]
    answers = request_many(items, actor=TESTER)
    assert [belongs(one.directive) for one in answers] == [(scope, pk) for _, _, scope, pk in asked]


def test_a_request_with_a_key_of_its_own_is_one_statement(forum, ann):
    payload = {"post_id": str(forum.posts[0].pk)}
    with CaptureQueriesContext(connection) as captured:
        directive = ask("forum.post.hide", payload, idempotency_key="own").directive
    said = [query["sql"].split(maxsplit=1)[0] for query in captured]
    assert [word for word in said if word != "SET"] == ["WITH"]
    assert belongs(directive) == (str(forum.category.pk), ann.pk)


def test_many_cost_one_query_for_each_type(forum, ann):
    def statements(posts):
        items = [
            DirectiveRequest("forum.post.hide", {"post_id": str(post.pk)}, idempotency_key=str(uuid4()))
            for post in posts
        ]
        with CaptureQueriesContext(connection) as captured:
            request_many(items, actor=TESTER)
        return len(captured)

    assert statements(forum.posts[:2]) == statements(
        [forums.post.make(thread=forum.thread) for _ in range(20)]
    )


def test_the_statement_of_a_request_is_parsed_once(forum):
    """psycopg keeps what it has parsed of statements up to a length."""
    for post in forum.posts[:2]:
        before = _queries._query2pg.cache_info()
        ask("forum.post.hide", {"post_id": str(post.pk)}, idempotency_key=str(post.pk))
    after = _queries._query2pg.cache_info()
    assert (after.misses, after.hits > before.hits) == (before.misses, True)


def test_prepared_statements_are_planned_once(forum):
    like = {field.attname: getattr(forum.posts[0], field.attname) for field in Post._meta.concrete_fields}
    posts = [Post(**{**like, "id": uuid4()}) for _ in range(5_000)]
    Post.objects.bulk_create(posts)
    execute("ANALYZE forums_post")
    for post in posts[:10]:
        ask("forum.post.hide", {"post_id": str(post.pk)})
        assert runner.run_due()[0].kind == "succeeded"
    plans = fetch_all("SELECT sum(custom_plans), sum(generic_plans) FROM pg_prepared_statements")
    assert plans[0][0] == 0
    assert plans[0][1] >= 40


def test_a_repeated_request_keeps_them_when_the_subject_has_moved(forum, ann):
    payload, key = {"post_id": str(forum.posts[0].pk)}, "own"
    first = ask("forum.post.hide", payload, idempotency_key=key).directive
    Thread.objects.update(category=forums.category.make())
    again, created = ask("forum.post.hide", payload, idempotency_key=key)
    assert not created
    assert belongs(again) == belongs(first) == (str(forum.category.pk), ann.pk)
    later = ask("forum.post.delete", payload, idempotency_key="later").directive
    assert later.scope == str(Thread.objects.get(pk=forum.thread.pk).category_id) != first.scope


def test_a_subject_that_is_gone_fails_as_it_always_did(forum):
    directive = ask("forum.post.hide", {"post_id": ABSENT}, idempotency_key="own").directive
    assert (belongs(directive), run(directive).kind) == (("", None), "failed")
    assert f"there is no {ABSENT}" in directive.last_error


def test_a_handler_gives_the_scopes_of_its_payloads_in_one_query(forum):
    handler = registry.get("forum.post.hide")
    ids = [*(str(post.pk) for post in forum.posts), ABSENT]
    payloads = [handler.parse({"post_id": pk}) for pk in ids]
    with CaptureQueriesContext(connection) as captured:
        assert handler.scopes(payloads) == [str(forum.category.pk)] * 3 + [""]
    assert len(captured) == 1


def test_a_handler_may_name_scopes_of_its_own(forum):
    [first, second] = request_many(
        [("library.count", {"what": "books"}), ("library.count", {"what": "maps"})], actor=TESTER
    )
    third = ask("library.count", {"what": "days"}, idempotency_key="own")
    assert [belongs(one.directive) for one in (first, second, third)] == [
        ("books", None),
        ("maps", None),
        ("days", None),
    ]
    with pytest.raises(Refused, match="scope: expected at most 255 characters; got 256"):
        ask("library.count", {"what": "x" * 256})
    [refused, hidden] = request_each(
        [("library.counted", {}), ("forum.post.hide", {"post_id": str(forum.posts[0].pk)})], actor=TESTER
    )
    assert isinstance(refused, Refused)
    assert hidden.directive.scope == str(forum.category.pk)


@pytest.mark.parametrize("key", ["own", None])
def test_keys_are_of_any_kind_and_a_scope_may_be_in_the_table_of_a_parent(alpha, key):
    atlas, book = baker.make(Atlas, title="The World"), baker.make(Book)
    for name, field, record, scope in [
        ("library.atlas.unfold", "atlas_id", atlas, "The World"),
        ("library.book.withdraw", "book_id", book, ""),
    ]:
        options = {"idempotency_key": name} if key else {}
        assert belongs(ask(name, {field: record.pk}, **options).directive) == (scope, None)


def test_what_scopes_and_members_are_is_known_by_the_models(alpha):
    types = {
        (subject_type, attribute): registry.related_type(subject_type, attribute)
        for subject_type in ("forum.post", "forum.thread", "forum.category", "library.atlas", "no.type")
        for attribute in ("SCOPE", "MEMBER")
    }
    assert {pair: found for pair, found in types.items() if found} == {
        ("forum.post", "SCOPE"): "forum.category",
        ("forum.post", "MEMBER"): "forum.member",
        ("forum.thread", "SCOPE"): "forum.category",
        ("forum.category", "SCOPE"): "forum.category",
    }


def test_a_handlers_signals_are_about_the_member_of_their_subject(alpha):
    subject, ann, bob = Subject("zoo.animal", "cat"), UUID(int=1), UUID(int=2)
    directive = ask("zoo.animal.work", {"animal": "cat"}).directive
    directive.member_id = ann
    context = Context(directive, "alpha")
    context.emit("zoo.animal.fed")
    context.emit("zoo.animal.washed", subject=subject)
    context.emit("zoo.animal.named", member_id=bob)
    context.emit("zoo.animal.met", subject=Subject("zoo.animal", "dog"))
    context.emit("zoo.animal.seen", subject=Subject("zoo.animal", "dog"), member_id=bob)
    assert [signal.member_id for signal in context.signals] == [ann, ann, bob, None, bob]
