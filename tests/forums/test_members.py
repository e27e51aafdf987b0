"""Members: every way of posting finds or makes the author's, and none disagrees with its posts' authors."""

import io
from contextlib import ExitStack
from functools import partial

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from fleetprompt.tenants.context import NoActiveTenant, in_tenant
from forums import content, members
from forums.importing import import_posts
from forums.models import Member, Post
from signals.models import Signal
from tests.accounts import make_user
from tests.admin import client_of
from tests.recipes import forums
from tests.support import TESTER, ask, in_threads, meanwhile, owner_cursor, run, somebody_waits, wait_until


def _unsaved(forum, author="ann", **fields):
    return Post(thread=forum.thread, content="Hello", **{"author_id": author, **fields})


def _create(forum, author):
    content.create_post(forum.thread, "Hello", actor=TESTER, author_id=author)


def _store(forum, author):
    content.store_new_posts([_unsaved(forum, author)], actor=TESTER)


def _import(forum, author):
    import_posts(io.BytesIO(f"id,author,content\n1,{author},Hello\n".encode()), thread="Welcome")


def _save(forum, author):
    _unsaved(forum, author).save()


def _bulk(forum, author):
    Post.objects.bulk_create([_unsaved(forum, author)])


def _related(forum, author):
    forum.thread.posts.create(content="Hello", author_id=author)


WAYS = [_create, _store, _import, _save, _bulk, _related]


@pytest.mark.parametrize("way", WAYS)
def test_each_way_of_posting_makes_one_member_for_an_author(forum, way):
    way(forum, "bob")
    [bob] = Member.objects.filter(author_id="bob")
    Post.objects.filter(member=bob).update(external_id=None)
    way(forum, "bob")
    assert Member.objects.filter(author_id="bob").count() == 1
    assert {post.author_id for post in bob.posts.all()} == {"bob"}
    assert bob.posts.count() == 2


def test_an_agents_post_has_a_member_too(forum):
    payload = {
        "thread_id": str(forum.thread.pk),
        "content": "Hi",
        "author_id": "ann",
        "client_request_id": "1",
    }
    run(ask("forum.post.create", payload).directive)
    post = Post.objects.get(author_type="agent")
    assert (post.member.author_type, post.member.author_id) == ("agent", "ann")
    assert Member.objects.filter(author_id="ann").count() == 2


def test_a_member_keeps_the_label_of_its_first_post(forum):
    for label in ("Bob", "Bobby"):
        content.create_post(forum.thread, "Hi", actor=TESTER, author_id="bob", author_label=label)
    assert [str(one) for one in Member.objects.order_by("label")] == ["ann", "Bob"]


def test_a_member_goes_with_the_post_that_could_not_be_stored(forum):
    with pytest.raises(IntegrityError), transaction.atomic():
        _unsaved(forum, "bob", status="gone").save()
    with pytest.raises(IntegrityError), transaction.atomic():
        Post.objects.bulk_create([_unsaved(forum, "bob", status="gone")])
    assert not Member.objects.filter(author_id="bob").exists()


def test_a_row_that_is_repeated_makes_no_member(forum):
    for author in ("ann", "bob"):
        content.store_new_posts([_unsaved(forum, author, external_id="1")], actor=TESTER)
    assert not Member.objects.filter(author_id="bob").exists()


@pytest.mark.parametrize(
    "change", ["author_id = 'bob'", "author_type = 'agent'", "member_id = NULL", "member_id = '{bob}'"]
)
def test_a_post_never_has_another_authors_member(forum, change):
    _create(forum, "bob")
    bob = Member.objects.get(author_id="bob")
    with pytest.raises(IntegrityError), connection.cursor() as cursor:
        cursor.execute(f"UPDATE forums_post SET {change.format(bob=bob.pk)} WHERE author_id = 'ann'")


def test_a_new_post_is_refused_with_another_authors_member(forum):
    with pytest.raises(IntegrityError):
        _unsaved(forum, "bob", member=Member.objects.get(author_id="ann")).save()


def test_the_posts_follow_when_a_member_is_renamed(forum):
    Member.objects.filter(author_id="ann").update(author_id="nobody")
    assert set(Post.objects.values_list("author_id", flat=True)) == {"nobody"}


def test_a_member_with_posts_stays(forum):
    with pytest.raises(IntegrityError):
        Member.objects.get().delete()


@pytest.mark.parametrize("way", [_create, _store, _bulk])
def test_who_comes_second_waits_for_the_member_of_the_first(forum, way):
    with ExitStack() as stack, transaction.atomic():
        way(forum, "bob")
        results = stack.enter_context(meanwhile(partial(way, forum, "bob")))
        wait_until(somebody_waits, "the second waits for the first")
    assert results == [None]
    assert Member.objects.filter(author_id="bob").count() == 1
    assert Post.objects.filter(member__author_id="bob").count() == 2


@pytest.mark.parametrize(("table", "field"), [("member", "author_id"), ("post", "external_id")])
def test_the_same_values_in_another_order_do_not_deadlock(forum, table, field):
    """Each row of the table takes its time, so that the two are surely at it together."""
    posts = [[_unsaved(forum, **{field: str(n)}) for n in range(20)] for _ in range(2)]
    orders = (posts[0], posts[1][::-1])
    with owner_cursor() as cursor:
        cursor.execute(
            f"ALTER TABLE forums_{table} ADD CONSTRAINT slow CHECK (pg_sleep(0.01)::text = '') NOT VALID"
        )
    try:
        stored = in_threads(*(partial(content.store_new_posts, some, actor=TESTER) for some in orders))
    finally:
        with owner_cursor() as cursor:
            cursor.execute(f"ALTER TABLE forums_{table} DROP CONSTRAINT slow")
    assert sum(map(len, stored)) == (40 if table == "member" else 20)


def test_a_batch_takes_as_many_statements_for_many_authors_as_for_one(forum):
    def statements(authors):
        posts = [_unsaved(forum, f"{authors} {n % authors}") for n in range(100)]
        with CaptureQueriesContext(connection) as captured:
            content.store_new_posts(posts, actor=TESTER)
        return len(captured)

    assert statements(100) == statements(1)


def test_who_wrote_a_post_can_be_erased_from_its_signal(forum):
    content.create_post(forum.thread, "Hi", actor=TESTER, author_id="bob.smith", author_label="Bob Smith")
    [signal] = Signal.objects.filter(name="forum.post.created")
    [stored] = Signal.objects.filter(pk=signal.pk).values_list("payload", flat=True)
    assert (signal.payload["author_id"], signal.payload["author_label"]) == ("bob.smith", "Bob Smith")
    assert stored.keys() == signal.payload.keys()
    assert "mith" not in str(stored)
    assert signal.member_id == Member.objects.get(author_id="bob.smith").pk


def test_a_link_to_a_user_leaves_a_signal_and_can_be_ended(forum):
    ann, mira = Member.objects.get(), User.objects.create(username="mira")
    for user in (mira, mira, None, mira):
        members.link(ann, user, actor=TESTER)
        assert Member.objects.get(pk=ann.pk).user == user
    linked = {"before": None, "after": f"user:{mira.pk}"}
    told = Signal.objects.filter(name="forum.member.linked")
    assert [one.payload for one in told] == [linked, {"before": linked["after"], "after": None}, linked]
    assert {(one.subject, one.member_id) for one in told} == {(ann.subject, ann.pk)}


def test_without_a_tenant_there_is_nobody_to_link(database):
    with in_tenant("alpha"):
        ann = forums.post.make().member
    with pytest.raises(NoActiveTenant):
        members.link(ann, None, actor=TESTER)


def test_a_user_who_is_gone_leaves_the_member(forum):
    ann, mira = Member.objects.get(), User.objects.create(username="mira")
    members.link(ann, mira, actor=TESTER)
    mira.delete()
    assert Member.objects.get(pk=ann.pk).user is None


@pytest.fixture
def ann(database):
    """A member of alpha with a post, and another one."""
    with in_tenant("alpha"):
        forums.post.make(author_id="bob", author_label="Bob")
        return forums.post.make(author_id="ann", author_label="Ann Smith", content="By Ann").member


def test_members_are_found_by_id_and_label_and_lead_to_their_posts(ann):
    mo = client_of("mo", group="Moderator")
    for words in ("ann", "smith"):
        found = mo.text("forums/member/", q=words)
        assert "Ann Smith" in found
        assert "Bob" not in found
    page = mo.text(f"forums/member/{ann.pk}/change/")
    assert "By Ann" in page
    posts = f"/admin/forums/post/?member__id__exact={ann.pk}"
    assert posts in page
    assert mo.text(posts.removeprefix("/admin/")).count("By Ann") == 1
    with in_tenant("alpha"):
        post = ann.posts.get()
    assert f"/admin/forums/member/{ann.pk}/change/" in mo.text(f"forums/post/{post.pk}/change/")
    assert "Link to a user" not in page
    assert mo.get(f"/admin/forums/member/{ann.pk}/user/").status_code == 403


@pytest.mark.parametrize("who", [{"superuser": True}, {"permissions": ["view_member", "link_member"]}])
def test_a_member_is_linked_to_a_user_by_who_may(ann, who):
    mo = client_of("mo", **who)
    make_user("alpha", "mira")
    page = f"forums/member/{ann.pk}/"
    assert f"/admin/{page}user/" in mo.text(f"{page}change/")
    answer = mo.post(f"/admin/{page}user/", {"user": "mira"})
    assert answer["Location"] == f"/admin/{page}change/"
    assert "mira" in mo.text(f"{page}change/")
    assert 'value="mira"' in mo.text(f"{page}user/")
    with in_tenant("alpha"):
        [signal] = Signal.objects.filter(name="forum.member.linked")
        assert signal.actor.label == "mo"
    mo.post(f"/admin/{page}user/", {"user": ""})
    with in_tenant("alpha"):
        assert Member.objects.get(pk=ann.pk).user is None


@pytest.mark.parametrize("permissions", [["link_member"], ["view_member"], ["view_member", "view_user"]])
def test_nobody_else_links_a_member(ann, permissions):
    mo = client_of("mo", permissions=permissions)
    address = f"/admin/forums/member/{ann.pk}/user/"
    assert (mo.get(address).status_code, mo.post(address, {"user": "1"}).status_code) == (403, 403)


def test_a_user_is_one_member_only(ann):
    mo, mira = client_of("mo", superuser=True), make_user("alpha", "mira")
    with in_tenant("alpha"):
        members.link(Member.objects.get(author_id="bob"), mira, actor=TESTER)
    for wrong in ("mira", mira.pk, "x\0"):
        answer = mo.post(f"/admin/forums/member/{ann.pk}/user/", {"user": wrong})
        assert answer.status_code == 200
        assert 'class="fp-error"' in answer.content.decode()
    assert mo.get("/admin/forums/member/00000000-0000-0000-0000-000000000001/user/").status_code == 404


def test_two_admins_who_link_one_user_at_once_link_one_member(ann):
    mira = make_user("alpha", "mira")
    with in_tenant("alpha"):
        both = list(Member.objects.filter(author_id__in=["ann", "bob"]))
    answers = in_threads(*(partial(members.link, one, mira, actor=TESTER) for one in both))
    assert sorted(type(answer).__name__ for answer in answers) == ["IntegrityError", "NoneType"]
