"""Restrictions in the admin, by real requests: what restricts a subject, for how long, and its end."""

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from uuid import uuid4

import pytest
from django.utils import timezone

from directives import runner
from directives.admin import restricted
from directives.admin.restricted import Outlook
from directives.authority import roles
from directives.models import Directive, Restriction
from directives.restricting.values import Active
from fleetprompt.tenants.context import in_tenant
from forums.admin import RecordAdmin
from forums.models import Post, Thread
from signals.types import Actor
from tests.admin import AdminClient, client_of
from tests.support import ABSENT, Forum, ask, make_forum, run

REQUEST = "/admin/directives/directive/request/"
ADA = Actor("agent", "ada", "Ada")
LATER = datetime(2999, 1, 1, 14, tzinfo=UTC)


@pytest.fixture
def forum(database) -> Forum:
    with in_tenant("alpha"):
        return make_forum()


@pytest.fixture
def mira(database) -> AdminClient:
    client = client_of("mira", group=roles.MODERATOR)
    client.cookies["timezone"] = "UTC"
    return client


def lock(forum, actor=ADA, **options):
    with in_tenant("alpha"):
        payload = {"thread_id": str(forum.thread.pk)}
        directive = ask("forum.thread.lock", payload, actor=actor, **options).directive
        run(directive)
        return Restriction.objects.get(directive_id=directive.pk)


def thread_page(client, forum):
    return client.get(f"/admin/forums/thread/{forum.thread.pk}/change/")


def text_of(page):
    """Return what a page says, without its symbols and tags."""
    text = re.sub(r'<span class="material.*?</span>', "", page.content.decode(), flags=re.DOTALL)
    return unescape(" ".join(re.sub(r"<[^>]*>", " ", text).split()))


def links(page, label):
    """Return the addresses of links with a label for those who do not see the page, in order."""
    found = re.findall(r'href="([^"]*)" aria-label="([^"]*)"', page.content.decode())
    return [unescape(url) for url, text in found if text.startswith(label)]


def carried(page):
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.content.decode())
    return {name: unescape(value) for name, value in found}


def submit(client, url, page, **fields):
    """Submit a page's form."""
    data = {**carried(page), "reason": "so be it", "when": "now", "confirm": "request", **fields}
    return client.post(url.partition("?")[0], data)


def shown_again(client, answer):
    assert answer.status_code == 302, "no answer to a POST is a page"
    assert "?kept=" in answer["Location"]
    return client.get(answer["Location"])


def stored():
    with in_tenant("alpha"):
        return list(Directive.objects.order_by("pk").values())


def thread_status(forum):
    with in_tenant("alpha"):
        return Thread.objects.get(pk=forum.thread.pk).status


def test_a_subjects_page_lists_who_why_since_when_and_until_when(mira, forum):
    lock(forum, reason="flames <i>everywhere</i>", expires_at=LATER)
    text = text_of(thread_page(mira, forum))
    assert "Locked until 1 Jan 2999, 14:00 by Ada, then open" in text
    assert re.search(
        r"Restrictions Locked by Ada since .*, until 1 Jan 2999, 14:00 “flames <i>everywhere</i>” Lock",
        text,
    )


def test_what_stays_says_for_good_and_promises_nothing(mira, forum):
    lock(forum)
    text = text_of(thread_page(mira, forum))
    assert "for good" in text
    assert "until" not in text


def test_a_subject_that_nothing_restricts_says_nothing_of_it(mira, forum):
    assert "Restrictions" not in text_of(thread_page(mira, forum))


def test_a_hidden_thread_says_so_beside_its_status(mira, forum):
    with in_tenant("alpha"):
        payload = {"thread_id": str(forum.thread.pk)}
        run(ask("forum.thread.hide", payload, actor=ADA, expires_at=LATER).directive)
    text = text_of(thread_page(mira, forum))
    assert "Open Hidden until 1 Jan 2999, 14:00 by Ada" in text


def active(kind, until, who="ada"):
    now = timezone.now()
    return Active(uuid4(), kind, f"forum.thread.{kind}", uuid4(), Actor("agent", who), now, now, until)


@pytest.mark.parametrize(
    ("restrictions", "expected"),
    [
        ([("locked", None)], ("Locked", None, None, "")),
        ([("locked", 1)], ("Locked", 1, "a", "open")),
        ([("locked", 1), ("locked", 2)], ("Locked", 2, "b", "open")),
        ([("locked", 1), ("locked", None)], ("Locked", None, None, "")),
        ([("locked", None), ("archived", 1)], ("Archived", 1, "b", "locked")),
        ([("locked", 2), ("archived", 1)], ("Archived", 1, "b", "locked")),
        ([("locked", 1), ("archived", 2)], ("Archived", 2, "b", "open")),
    ],
)
def test_the_outlook_is_what_is_left_when_the_last_of_the_strictest_ends(restrictions, expected):
    times = {None: None, 1: LATER, 2: LATER + timedelta(hours=1)}
    found = [
        active(kind, times[until], who) for (kind, until), who in zip(restrictions, "abc", strict=False)
    ]
    outlook = restricted._outlook(Thread.RESTRICTED_COLUMNS[0], found, RecordAdmin.status_looks)
    word, until, who, then = expected
    actor = Actor("agent", who) if who else None
    assert outlook == Outlook(outlook.look, times[until], actor, then)
    assert outlook.look.word == word


def test_one_is_ended_and_the_others_stay(mira, forum):
    first, second = lock(forum), lock(forum, actor=Actor("agent", "bob"))
    page = thread_page(mira, forum)
    url, other = links(page, "End restriction")
    assert (str(first.pk) in url, str(second.pk) in other) == (True, True)
    question = mira.get(url)
    assert "End restriction" in text_of(question)
    assert "By Ada" in text_of(question)
    answer = submit(mira, url, question)
    assert f"back={'%2Fadmin%2Fforums%2Fthread'}" in answer["Location"]
    with in_tenant("alpha"):
        runner.run_due()
        first.refresh_from_db()
        second.refresh_from_db()
        assert (first.ended_at is None, second.ended_at is None) == (False, True)
        assert Directive.objects.get(pk=first.ended_by).reason == "so be it"
    assert thread_status(forum) == "locked"
    [url] = links(thread_page(mira, forum), "End restriction")
    submit(mira, url, mira.get(url))
    with in_tenant("alpha"):
        runner.run_due()
    assert thread_status(forum) == "open"


def test_a_double_submit_of_an_end_is_one(mira, forum):
    lock(forum)
    [url] = links(thread_page(mira, forum), "End restriction")
    question = mira.get(url)
    first = submit(mira, url, question)
    with in_tenant("alpha"):
        runner.run_due()
    assert submit(mira, url, question)["Location"] == first["Location"]
    with in_tenant("alpha"):
        assert Directive.objects.filter(name="restriction.end").count() == 1


def test_what_has_ended_since_is_not_ended_again_and_the_page_says_who_did(mira, forum):
    lock(forum)
    [url] = links(thread_page(mira, forum), "End restriction")
    question = mira.get(url)
    with in_tenant("alpha"):
        payload = {"thread_id": str(forum.thread.pk)}
        run(ask("forum.thread.unlock", payload, actor=ADA, reason="they are calm").directive)
    before = stored()
    page = shown_again(mira, submit(mira, url, question))
    assert re.search(r"This has ended already, .*: Unlock thread by Ada: “they are calm”", text_of(page))
    assert stored() == before


def test_an_end_is_tried_out(mira, forum):
    lock(forum)
    [url] = links(thread_page(mira, forum), "End restriction")
    page = shown_again(mira, submit(mira, url, mira.get(url), confirm="dry_run"))
    assert "status: locked → open" in text_of(page)
    assert thread_status(forum) == "locked"


def test_a_restriction_is_made_longer(mira, forum):
    restriction = lock(forum, expires_at=LATER)
    [url] = links(thread_page(mira, forum), "Reschedule restriction")
    form = mira.get(url)
    assert 'value="2999-01-01 14:00:00"' in form.content.decode()
    submit(mira, url, form, payload_until="2999-01-02T09:30")
    with in_tenant("alpha"):
        runner.run_due()
        restriction.refresh_from_db()
    assert restriction.until == datetime(2999, 1, 2, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("may", "offered"),
    [
        (["request_restriction.end"], False),
        (["request_forum.thread.lock"], False),
        (["request_restriction.end", "request_forum.thread.lock"], True),
    ],
)
def test_ending_needs_the_permission_of_what_set_it_and_its_own(forum, may, offered):
    restriction = lock(forum)
    view = ["view_thread", "view_directive", "view_signal"]
    client = client_of("anton", permissions=[*view, *may])
    page = thread_page(client, forum)
    assert "Restrictions" in text_of(page)
    assert bool(links(page, "End restriction")) == offered
    url = f"{REQUEST}restriction.end/?restriction={restriction.pk}"
    before = stored()
    question = client.get(url)
    assert question.status_code == (200 if offered else 403)
    fields = {"restriction": str(restriction.pk), "batch": str(uuid4())}
    answer = client.post(
        f"{REQUEST}restriction.end/",
        {**fields, "reason": "x", "when": "now", "confirm": "request"},
    )
    assert answer.status_code == (302 if offered else 403)
    assert (stored() == before) == (not offered)


def test_who_may_not_view_directives_reads_no_reason(forum):
    restriction = lock(forum, reason="a secret reason")
    client = client_of(
        "anton", permissions=["view_thread", "request_restriction.end", "request_forum.thread.lock"]
    )
    page = thread_page(client, forum)
    question = client.get(f"{REQUEST}restriction.end/?restriction={restriction.pk}")
    for one in (page, question):
        assert one.status_code == 200
        assert "a secret reason" not in one.content.decode()
        assert "Ada" not in one.content.decode()


def test_who_may_not_view_the_subject_does_not_try_its_end_out(forum):
    restriction = lock(forum)
    may = ["view_directive", "request_restriction.end", "request_forum.thread.lock"]
    client = client_of("anton", permissions=may)
    url = f"{REQUEST}restriction.end/?restriction={restriction.pk}"
    question = client.get(url)
    assert "Welcome" not in question.content.decode()
    assert submit(client, url, question, confirm="dry_run").status_code == 403


@pytest.mark.parametrize("pk", ["rubbish", ABSENT, "1", "x" * 5000])
def test_a_restriction_that_does_not_exist_is_not_found(mira, pk):
    assert mira.get(f"{REQUEST}restriction.end/", {"restriction": pk}).status_code == 404


def test_another_tenants_restriction_is_not_found(mira):
    with in_tenant("beta"):
        theirs = make_forum()
        run(ask("forum.thread.lock", {"thread_id": str(theirs.thread.pk)}).directive)
        pk = Restriction.objects.get().pk
    assert mira.get(f"{REQUEST}restriction.end/", {"restriction": str(pk)}).status_code == 404


def test_its_id_can_be_typed(mira, forum):
    restriction, url = lock(forum), f"{REQUEST}restriction.end/"
    page = shown_again(mira, submit(mira, url, mira.get(url), payload_restriction_id=ABSENT))
    assert "There is none with this id here" in text_of(page)
    submit(mira, url, mira.get(url), payload_restriction_id=str(restriction.pk))
    with in_tenant("alpha"):
        runner.run_due()
    assert thread_status(forum) == "open"


# For how long


def ask_to_lock(client, forum, **fields):
    url = f"{REQUEST}forum.thread.lock/?subjects={forum.thread.pk}"
    return submit(client, url, client.get(url), **fields)


def test_for_good_is_the_default(mira, forum):
    ask_to_lock(mira, forum)
    with in_tenant("alpha"):
        assert Directive.objects.get().expires_at is None
    page = mira.get(f"{REQUEST}forum.thread.lock/?subjects={forum.thread.pk}")
    [choices] = re.findall(r'<select name="lasts".*?</select>', page.content.decode(), re.DOTALL)
    assert [*re.findall(r">\s*([^<]+?)\s*</option>", choices)] == [
        "For good",
        "For an hour",
        "For a day",
        "For a week",
        "Until …",
    ]
    assert "selected" in choices.partition("</option>")[0]


@pytest.mark.parametrize(
    ("lasts", "length"),
    [("1h", timedelta(hours=1)), ("1d", timedelta(days=1)), ("1w", timedelta(weeks=1))],
)
def test_for_a_time_counts_from_the_submit(mira, forum, lasts, length):
    before = timezone.now()
    answer = ask_to_lock(mira, forum, lasts=lasts)
    with in_tenant("alpha"):
        directive = Directive.objects.get()
    assert before <= directive.expires_at - length <= timezone.now()
    assert "Until" in text_of(mira.get(answer["Location"]))


def test_for_a_time_counts_from_when_it_begins(mira, forum):
    ask_to_lock(mira, forum, lasts="1h", when="later", at="2998-12-31T23:30")
    with in_tenant("alpha"):
        directive = Directive.objects.get()
    assert directive.expires_at - directive.scheduled_at == timedelta(hours=1)


def test_until_is_read_in_the_zone_of_the_page(mira, forum):
    mira.cookies["timezone"] = "Asia/Tokyo"
    url = f"{REQUEST}forum.thread.lock/?subjects={forum.thread.pk}"
    page = mira.get(url)
    assert "It then ends by itself. In your time zone, Asia/Tokyo." in text_of(page)
    mira.cookies["timezone"] = "America/New_York"
    submit(mira, url, page, lasts="until", expires_at="2999-01-01T09:00")
    with in_tenant("alpha"):
        assert Directive.objects.get().expires_at == datetime(2999, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"lasts": "until"}, "Say until when"),
        ({"lasts": "until", "expires_at": "soon"}, "Enter a valid date/time."),
        ({"lasts": "until", "expires_at": "2001-01-01T00:00"}, "Expected a time after it begins"),
        ({"lasts": "until", "expires_at": "9999-12-31T23:59"}, "before the year 9999"),
        (
            {"lasts": "until", "expires_at": "2999-01-01T00:00", "when": "later", "at": "2999-01-01T00:00"},
            "Expected a time after it begins",
        ),
        ({"lasts": "1h", "expires_at": "2999-01-01T00:00"}, "Choose “Until …”, or leave this empty."),
        ({"lasts": "", "expires_at": "2999-01-01T00:00"}, "Choose “Until …”, or leave this empty."),
        ({"lasts": "a century"}, "Select a valid choice."),
        (
            {"lasts": "until", "expires_at": "2999-10-27T02:30", "zone": "Europe/Paris"},
            "may be ambiguous or it may not exist",
        ),
    ],
)
def test_a_bad_time_is_an_error_at_its_field_and_nothing_is_requested(mira, forum, fields, said):
    page = shown_again(mira, ask_to_lock(mira, forum, **fields))
    assert said in text_of(page)
    errors = page.context["form"].errors
    assert set(errors) <= {"lasts", "expires_at"}
    assert stored() == []


def test_a_double_submit_for_an_hour_is_one(mira, forum):
    url = f"{REQUEST}forum.thread.lock/?subjects={forum.thread.pk}"
    page = mira.get(url)
    first, second = (submit(mira, url, page, lasts="1h") for _ in range(2))
    assert first["Location"] == second["Location"]
    assert len(stored()) == 1
    other = shown_again(mira, submit(mira, url, page, lasts="1d"))
    assert "submitted before, with other contents" in text_of(other)


def test_what_does_not_end_by_itself_asks_for_no_time(mira, forum):
    page = mira.get(f"{REQUEST}forum.post.create/?subjects={forum.thread.pk}")
    assert "For how long" not in text_of(page)


def test_it_is_tried_out_with_its_time(mira, forum):
    page = shown_again(mira, ask_to_lock(mira, forum, lasts="1h", confirm="dry_run"))
    assert "status: open → locked" in text_of(page)
    assert "until" in text_of(page)
    with in_tenant("alpha"):
        assert not Directive.objects.exists()
        assert not Restriction.objects.exists()


# What came since


def post_status(post):
    with in_tenant("alpha"):
        return Post.objects.get(pk=post.pk).status


def do(name, post, **options):
    with in_tenant("alpha"):
        directive = ask(name, {"post_id": str(post.pk)}, **options).directive
        run(directive)
        return Directive.objects.get(pk=directive.pk)


def test_a_request_carries_the_revision_that_its_page_showed(mira, forum):
    do("forum.post.hide", forum.posts[1])
    ids = ",".join(str(post.pk) for post in forum.posts)
    url = f"{REQUEST}forum.post.hide/?subjects={ids}"
    page = mira.get(url)
    assert carried(page)["revisions"] == "1,2,1"
    submit(mira, url, page)
    with in_tenant("alpha"):
        found = dict(
            Directive.objects.filter(personal__reason__1="so be it").values_list(
                "subject_id", "payload__expected_revision"
            )
        )
        runner.run_due()
        assert {one.status for one in Directive.objects.all()} == {"succeeded"}
    assert found == {str(post.pk): revision for post, revision in zip(forum.posts, (1, 2, 1), strict=True)}


def test_what_changed_since_the_page_is_refused_and_what_came_since_is_named(mira, forum):
    """A moderator opens the confirmation to unhide; an admin deletes the post; the moderator submits."""
    [post, *_] = forum.posts
    do("forum.post.hide", post, actor=Actor("agent", "bob"))
    url = f"{REQUEST}forum.post.unhide/?subjects={post.pk}"
    page = mira.get(url)
    do("forum.post.delete", post, actor=ADA, reason="doxxing")
    before = stored()
    for confirm in ("request", "dry_run"):
        again = shown_again(mira, submit(mira, url, page, confirm=confirm))
        assert "Nothing was requested: it changed since the page was drawn." in text_of(again)
        assert re.search(r"Delete post by Ada, .*: “doxxing”", text_of(again))
        assert "Hide post by" not in text_of(again)
        assert again.context["form"]["reason"].value() == "so be it"
    assert stored() == before
    assert post_status(post) == "deleted"
    answer = submit(mira, url, again)
    assert "?kept=" not in answer["Location"], "who knows what came since may ask for it all the same"
    assert len(stored()) == len(before) + 1


def test_a_dry_run_seen_again_after_its_request_does_not_say_that_nothing_was_requested(mira, forum):
    url = f"{REQUEST}forum.post.hide/?subjects={forum.posts[0].pk}"
    page = mira.get(url)
    tried = submit(mira, url, page, confirm="dry_run")["Location"]
    submit(mira, url, mira.get(tried), confirm="request")
    with in_tenant("alpha"):
        runner.run_due()
    assert post_status(forum.posts[0]) == "hidden"
    again = text_of(mira.get(tried))
    assert "What would happen" in again
    assert "Nothing was requested" not in again


def test_of_many_those_that_changed_are_named(mira, forum):
    ids = ",".join(str(post.pk) for post in forum.posts)
    url = f"{REQUEST}forum.post.hide/?subjects={ids}"
    page = mira.get(url)
    do("forum.post.hide", forum.posts[1], actor=ADA, reason="spam")
    before = stored()
    again = shown_again(mira, submit(mira, url, page))
    assert "Nothing was requested: 1 of 3 changed since the page was drawn." in text_of(again)
    assert "Post 1 Hide post by Ada" in text_of(again)
    assert stored() == before
    assert submit(mira, url, again).status_code == 302
    assert len(stored()) == len(before) + 3


def test_what_changes_after_the_submit_fails_when_it_runs(mira, forum):
    [post, *_] = forum.posts
    url = f"{REQUEST}forum.post.hide/?subjects={post.pk}"
    submit(mira, url, mira.get(url), when="later", at="2999-01-01T00:00")
    do("forum.post.delete", post, actor=ADA)
    with in_tenant("alpha"):
        hide = Directive.objects.get(name="forum.post.hide")
        Directive.objects.filter(pk=hide.pk).update(scheduled_at=timezone.now(), queued_at=timezone.now())
        run(hide)
        hide.refresh_from_db()
    assert hide.status == "failed"
    assert "expected_revision" in hide.last_error


def test_a_double_submit_is_answered_alike_after_it_has_changed_the_subject(mira, forum):
    url = f"{REQUEST}forum.post.hide/?subjects={forum.posts[0].pk}"
    page = mira.get(url)
    first = submit(mira, url, page)
    with in_tenant("alpha"):
        runner.run_due()
    assert submit(mira, url, page)["Location"] == first["Location"]
    assert len(stored()) == 1


def test_an_unhide_that_is_asked_for_before_the_hide_ran_lifts_it(mira, forum):
    [post, *_] = forum.posts
    for name in ("hide", "unhide"):
        url = f"{REQUEST}forum.post.{name}/?subjects={post.pk}"
        submit(mira, url, mira.get(url))
    with in_tenant("alpha"):
        runner.run_due()
        assert {one.status for one in Directive.objects.all()} == {"succeeded"}
    assert post_status(post) == "published"


def test_two_who_ask_for_one_thing_before_it_runs_are_one_directive_and_both_on_record(mira, forum):
    other = client_of("olga", group=roles.MODERATOR)
    url = f"{REQUEST}forum.post.hide/?subjects={forum.posts[0].pk}"
    drawn = [(client, client.get(url)) for client in (mira, other)]
    for client, page in drawn:
        submit(client, url, page, reason=f"as {client} says")
    assert len(stored()) == 1
    history = mira.get(f"/admin/forums/post/{forum.posts[0].pk}/history/").content.decode()
    assert "directive.requested_again" in history


def test_what_has_no_revision_carries_none(database):
    ada = client_of("ada", superuser=True)
    page = ada.get(f"{REQUEST}library.book.withdraw/?subjects=1")
    assert carried(page)["revisions"] == ""


def test_who_may_not_view_directives_learns_only_that_it_changed(forum):
    [post, *_] = forum.posts
    client = client_of("anton", permissions=["view_post", "request_forum.post.hide"])
    url = f"{REQUEST}forum.post.hide/?subjects={post.pk}"
    page = client.get(url)
    do("forum.post.hide", post, actor=ADA, reason="secret")
    again = shown_again(client, submit(client, url, page))
    assert "it changed since the page was drawn" in text_of(again)
    assert "Ada" not in text_of(again)
    assert "secret" not in text_of(again)


def test_a_subject_that_is_gone_is_refused(mira, forum):
    url = f"{REQUEST}forum.post.hide/?subjects={forum.posts[0].pk}"
    page = mira.get(url)
    with in_tenant("alpha"):
        Post.objects.filter(pk=forum.posts[0].pk).delete()
    assert "it changed since" in text_of(shown_again(mira, submit(mira, url, page)))


@pytest.mark.parametrize("revisions", ["x", "1,1", "-1", "1.5", "\x00", "²"])
def test_revisions_that_are_none_are_refused(mira, forum, revisions):
    url = f"{REQUEST}forum.post.hide/?subjects={forum.posts[0].pk}"
    answer = submit(mira, url, mira.get(url), revisions=revisions)
    assert answer.status_code == 400
    assert stored() == []
