"""Requesting in a tenant's admin, by real requests: lists, forms, confirmation, batches, dry runs."""

import logging
import re
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from directives import operations, registry, requests, runner
from directives.models import Directive
from fleetprompt.tenants.context import in_tenant
from forums.models import Post
from signals.models import Signal
from signals.types import Actor
from tests.accounts import make_user
from tests.admin import AdminClient, client_of
from tests.recipes import forums
from tests.support import ABSENT, TESTER, Forum, ask, make_forum, thinned

HIDE = "directives/directive/request/forum.post.hide/"


@pytest.fixture
def forum(database) -> Forum:
    with in_tenant("alpha"):
        return make_forum()


@pytest.fixture
def mira(database) -> AdminClient:
    return client_of("mira", group="Moderator")


def select(client, posts, action="request:forum.post.hide", **extra):
    """Choose an action for posts in their list."""
    data = {"action": action, "_selected_action": [str(post.pk) for post in posts], "index": "0", **extra}
    return client.post("/admin/forums/post/", data, follow=True)


def shown_again(client, answer):
    """Follow the answer to a form that was not requested; return the page with the form."""
    assert answer.status_code == 302, "no answer to a POST is a page"
    assert "?kept=" in answer.headers["Location"]
    page = client.get(answer.headers["Location"])
    assert page.status_code == 200
    return page


def hidden_fields(page):
    """Return what a form of the page carries by itself."""
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.content.decode())
    return dict(found)


def submit(client, posts, path=HIDE, **fields):
    """Submit the confirmation for posts."""
    data = {
        "subjects": ",".join(str(post.pk) for post in posts),
        "batch": str(uuid4()),
        "reason": "Spam wave",
        "when": "now",
        "confirm": "request",
        **fields,
    }
    return client.post(f"/admin/{path}", data)


def stored():
    with in_tenant("alpha"):
        return list(Directive.objects.order_by("created_at", "id"))


def for_moderators(subject_type):
    """Return the names of the directives about a type of subject that the group Moderator may request."""
    return [handler.name for handler in registry.about(subject_type) if handler.for_moderators]


def test_a_list_offers_what_applies_and_the_user_may(mira, forum):
    page = mira.text("forums/post/")
    offered = re.findall(r'<option value="request:([\w.]+)"', page)
    assert offered == for_moderators("forum.post")
    assert {"forum.post.hide", "forum.post.unhide"} <= {*offered}
    page = mira.text("forums/thread/")
    offered = re.findall(r'<option value="request:([\w.]+)"', page)
    assert offered == for_moderators("forum.thread")
    assert {"forum.post.create", "forum.thread.lock", "forum.thread.unlock"} <= {*offered}


def test_the_confirmation_says_how_many_change_and_which_are_so_already(mira, forum):
    with in_tenant("alpha"):
        Post.objects.filter(pk=forum.posts[0].pk).update(status="hidden")
    page = select(mira, forum.posts)
    text = page.content.decode()
    assert page.status_code == 200
    assert "Hide 3 posts" in text
    assert re.search(r"<strong>2</strong> from published to <strong>hidden</strong>", text)
    assert re.search(r"<strong>1</strong> is hidden already", text)
    assert stored() == []
    assert set(hidden_fields(page)["subjects"].split(",")) == {str(post.pk) for post in forum.posts}


def test_confirming_requests_one_batch_and_leads_to_its_page(mira, forum):
    page = select(mira, forum.posts)
    answer = submit(mira, forum.posts, **hidden_fields(page))
    batch_id = hidden_fields(page)["batch"]
    assert answer.headers["Location"].partition("?")[0] == f"/admin/directives/directive/batch/{batch_id}/"
    directives = stored()
    assert {d.subject_id for d in directives} == {str(post.pk) for post in forum.posts}
    assert {(d.name, d.reason, d.correlation_id, d.actor_label) for d in directives} == {
        ("forum.post.hide", "Spam wave", batch_id, "mira")
    }
    shown = mira.get(answer.headers["Location"]).content.decode()
    assert "Working: 0 of 3" in shown
    assert "hx-get" in shown


def test_the_batch_page_follows_it_to_the_end(mira, forum):
    url = submit(mira, forum.posts).headers["Location"]
    with in_tenant("alpha"):
        runner.run_due()
    shown = mira.get(url, headers={"hx-request": "true"}).content.decode()
    assert "Done: 3 of 3" in shown
    assert "hx-get" not in shown
    assert shown.count("Succeeded") == 3
    assert "<html" not in shown


def test_a_failure_in_a_batch_is_named_with_its_error(mira, forum):
    with in_tenant("alpha"):
        ask("forum.post.hide", {"post_id": str(uuid4())}, correlation_id="some-batch")
        runner.run_due()
    shown = mira.text("directives/directive/batch/some-batch/")
    assert "1 failed" in shown
    assert "there is no" in shown


def test_a_double_submit_makes_no_second_batch(mira, forum):
    batch = str(uuid4())
    first = submit(mira, forum.posts, batch=batch)
    again = submit(mira, forum.posts, batch=batch)
    assert first.headers["Location"] == again.headers["Location"]
    assert len(stored()) == 3
    with in_tenant("alpha"):
        assert Signal.objects.filter(name=requests.BATCH_REQUESTED).count() == 1


def test_a_form_that_was_changed_after_going_back_is_not_taken_for_the_same(mira, forum):
    batch = str(uuid4())
    submit(mira, forum.posts[:1], batch=batch)
    answer = submit(mira, forum.posts, batch=batch, reason="All of them")
    answer = shown_again(mira, answer)
    assert "submitted before, with other contents" in answer.content.decode()
    fresh = hidden_fields(answer)["batch"]
    assert fresh != batch
    assert submit(mira, forum.posts, batch=fresh).status_code == 302
    assert len(stored()) == 3


def test_a_number_in_use_by_somebody_elses_directive_is_refused(mira, forum):
    number = str(uuid4())
    with in_tenant("alpha"):
        theirs = ask(
            "forum.post.hide", {"post_id": str(forum.posts[2].pk)}, correlation_id=number
        ).directive
    before = stored()
    answer = submit(mira, forum.posts[:2], batch=number)
    answer = shown_again(mira, answer)
    assert f"The number {number} is in use by other requests" in answer.content.decode()
    assert stored() == before
    fresh = hidden_fields(answer)["batch"]
    answer = submit(mira, forum.posts[:2], batch=fresh)
    assert str(theirs.pk) not in mira.get(answer.headers["Location"]).content.decode()


def test_a_batchs_page_shows_when_each_of_it_is_due(mira, forum):
    mira.cookies["timezone"] = "UTC"
    answer = submit(mira, forum.posts, when="later", at="2999-01-01T00:00")
    first, second, third = stored()
    with in_tenant("alpha"):
        for directive, day in ((first, 5), (second, 3)):
            until = datetime(2999, 2, day, 10, tzinfo=UTC)
            operations.snooze(directive.pk, until, actor=TESTER, reason="x")
    text = mira.get(answer.headers["Location"]).content.decode()
    times = [re.sub(r"<.*?>", "", found) for found in re.findall(r"<p>Due (.*?)</p>", text)]
    assert len(times) == 1
    assert re.fullmatch(r"\W*1 Jan 2999,? 00:00\S* to \W*5 Feb 2999,? 10:00\S*", times[0]), times
    rows = re.findall(r"<tr>\s*<td>.*?</tr>", text, re.DOTALL)
    assert ["5 Feb 2999" in rows[0], "3 Feb 2999" in rows[1], "1 Jan 2999" in rows[2]] == [True] * 3
    with in_tenant("alpha"):
        for directive in (first, second, third):
            operations.cancel(directive.pk, actor=TESTER, reason="x")
    assert "<p>Due " not in mira.get(answer.headers["Location"]).content.decode()


def test_a_group_that_is_no_batch_says_of_each_who_asked_for_it_and_why(mira, forum):
    with in_tenant("alpha"):
        for post, who in zip(forum.posts, ("ann", "bob", "bob"), strict=True):
            ask(
                "forum.post.hide",
                {"post_id": str(post.pk)},
                actor=Actor("agent", who, who.title()),
                reason=f"{who} says so",
                correlation_id="group",
            )
        ask("forum.thread.lock", {"thread_id": str(forum.thread.pk)}, correlation_id="group")
    text = re.sub(r"<.*?>", "", mira.text("directives/directive/batch/group/"))
    assert "by Ann: Hide 1 post" in text
    assert "by Bob: Hide 2 posts" in text
    assert "by tester: Lock 1 thread" in text
    assert "bob says so" in text
    assert "4 directives" in text


@pytest.mark.parametrize("posts", thinned([10_000, 10_001], every=2))
def test_all_are_offered_only_as_far_as_all_are_taken(mira, database, posts):
    is_offered = posts <= 10_000
    with in_tenant("alpha"):
        thread = make_forum(0).thread
        Post.objects.bulk_create(Post(thread=thread, content=f"P{n}", author_id="a") for n in range(posts))
        one = Post.objects.first()
    text = mira.text("forums/post/")
    assert ("Select all 10000 posts" in text) == is_offered
    assert ("Filter the list to 10000 or fewer" in text) == (not is_offered)
    answer = select(mira, [one], select_across="1")
    assert (
        "<h1" in answer.content.decode() and "Hide 10,000 posts" in answer.content.decode()
    ) == is_offered


@pytest.mark.parametrize("path", ["forums/post/", "forums/thread/"])
@pytest.mark.parametrize("pk", ["abc", "", "1"])
def test_a_selection_of_what_is_no_id_is_told(mira, forum, path, pk):
    name = "forum.post.hide" if "post" in path else "forum.thread.lock"
    data = {"action": f"request:{name}", "_selected_action": pk, "index": "0"}
    answer = mira.post(f"/admin/{path}", data, follow=True)
    assert answer.status_code == 200
    assert stored() == []


@pytest.mark.long
def test_five_thousand_at_once(mira, database):
    with in_tenant("alpha"):
        thread = make_forum(0).thread
        forums.post.make(5000, thread=thread, _bulk_create=True)
        posts = list(Post.objects.all())
    page = select(mira, posts[:1], select_across="1")
    assert "Hide 5,000 posts" in page.content.decode()
    answer = submit(mira, posts, **hidden_fields(page))
    assert "0 of 5,000" in mira.get(answer.headers["Location"]).content.decode()
    with in_tenant("alpha"):
        assert Directive.objects.count() == 5000


def test_asking_again_for_the_same_says_that_it_was_asked(mira, forum):
    submit(mira, forum.posts)
    answer = submit(mira, forum.posts)
    shown = mira.get(answer.headers["Location"]).content.decode()
    assert "3 of the 3 were requested before" in shown
    assert "Nothing new was requested" in shown
    assert len(stored()) == 3


def test_a_request_for_later_waits_in_the_users_zone(mira, forum):
    mira.cookies["timezone"] = "Asia/Kathmandu"
    answer = submit(mira, forum.posts[:1], when="later", at="2999-01-01T05:45")
    [directive] = stored()
    assert directive.scheduled_at.isoformat() == "2999-01-01T00:00:00+00:00"
    shown = mira.get(answer.headers["Location"]).content.decode()
    assert "Waiting for its time" in shown
    assert "1 snoozed" in shown


def test_a_time_is_read_in_the_zone_of_the_page_that_asked_for_it(mira, forum):
    mira.cookies["timezone"] = "Asia/Tokyo"
    carried = hidden_fields(select(mira, forum.posts[:1]))
    mira.cookies["timezone"] = "America/New_York"
    answer = submit(mira, forum.posts[:1], **carried, when="later", at="2999-01-01T09:00")
    assert answer.status_code == 302
    [directive] = stored()
    assert directive.scheduled_at.isoformat() == "2999-01-01T00:00:00+00:00"


def test_a_form_that_is_shown_again_keeps_its_zone(mira, forum):
    mira.cookies["timezone"] = "Asia/Tokyo"
    carried = hidden_fields(select(mira, forum.posts[:1]))
    mira.cookies["timezone"] = "America/New_York"
    fields = {**carried, "reason": "", "when": "later", "at": "2999-01-01T09:00"}
    again = shown_again(mira, submit(mira, forum.posts[:1], **fields))
    assert "In your time zone, Asia/Tokyo" in again.content.decode()
    assert hidden_fields(again)["zone"] == "Asia/Tokyo"


@pytest.mark.parametrize(("at", "date"), [("twice", "2999-10-27T02:30"), ("never", "2999-03-31T02:30")])
def test_a_time_that_the_clocks_show_twice_or_never_is_refused(mira, forum, at, date):
    answer = submit(mira, forum.posts[:1], zone="Europe/Paris", when="later", at=date)
    answer = shown_again(mira, answer)
    assert "may be ambiguous or it may not exist" in answer.content.decode()
    assert stored() == []


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"reason": ""}, "This field is required."),
        ({"reason": " "}, "This field is required."),
        ({"reason": "x" * 1001}, "at most 1000"),
        ({"reason": "key is AKIAIOSFODNN7EXAMPLE"}, "secret"),
        ({"when": "later"}, "Say when"),
        ({"when": "later", "at": "2001-01-01T00:00"}, "future"),
        ({"batch": "rubbish"}, "batch"),
        ({"zone": "Mars/Olympus"}, "zone: expected"),
        ({"zone": "../../etc/passwd"}, "zone: expected"),
        ({"zone": "x" * 5000}, "zone: expected"),
        ({"zone": "UTC\x00"}, "null characters"),
        ({"shown_at": "yesterday"}, "shown_at: expected"),
        ({"shown_at": "2026-11-30T10:00"}, "shown_at: expected"),
        ({"shown_at": "0001-01-01T00:00+00:00"}, "shown_at: expected"),
        ({"shown_at": "9999-12-31T23:59+00:00"}, "shown_at: expected"),
    ],
)
def test_bad_input_is_answered_at_its_field_and_changes_nothing(mira, forum, fields, said):
    answer = shown_again(mira, submit(mira, forum.posts, **fields))
    assert said.lower() in answer.content.decode().lower()
    assert stored() == []


@pytest.mark.parametrize("rubbish", ["", "x", "1,2,3", "\x00", ",,,", "%s", "../.."])
def test_a_selection_of_rubbish_asks_for_the_record_instead(mira, forum, rubbish):
    answer = mira.post(
        f"/admin/{HIDE}",
        {"subjects": rubbish, "batch": str(uuid4()), "reason": "x", "when": "now", "confirm": "request"},
    )
    assert "<h1" in shown_again(mira, answer).content.decode()
    assert stored() == []


def test_records_that_are_gone_fail_when_they_run(mira, forum):
    missing = Post(pk=uuid4())
    page = mira.text(HIDE, subjects=str(missing.pk))
    assert "None of them exists here any more" in page
    url = submit(mira, [missing]).headers["Location"]
    with in_tenant("alpha"):
        runner.run_due()
    assert "1 failed" in mira.get(url).content.decode()


def test_a_dry_run_shows_what_would_happen_and_changes_nothing(mira, forum):
    with in_tenant("alpha"):
        Post.objects.filter(pk=forum.posts[1].pk).update(status="hidden")
        before = Signal.objects.count()
    answer = submit(mira, [*forum.posts, Post(pk=uuid4())], confirm="dry_run")
    text = shown_again(mira, answer).content.decode()
    assert text.count("status: published → <strong>hidden</strong>") == 2
    assert text.count("forum.post.hidden") == 3
    assert text.count("revision: 1 → <strong>2</strong>") == 3
    assert "It would fail: DirectiveError" in text
    assert "Spam wave" in text, "what was typed is kept"
    assert stored() == []
    with in_tenant("alpha"):
        assert Signal.objects.count() == before
        assert set(Post.objects.values_list("revision", flat=True)) == {1}


def test_the_request_page_lists_the_types_that_the_user_may_request(mira):
    page = mira.text("directives/directive/request/")
    names = re.findall(r"/directive/request/([\w.]+)/", page)
    assert {*names} == {handler.name for handler in registry.handlers() if handler.for_moderators}
    assert {"forum.post.create", "forum.post.hide", "forum.thread.lock"} <= {*names}
    assert "forum.post.delete" not in names
    assert "Request directive" in mira.text("")


def test_any_type_can_be_requested_by_its_form(mira, forum):
    path = "directives/directive/request/forum.post.create/"
    page = mira.text(path)
    for label in ("Thread", "Content", "Author id", "Client request id"):
        assert label in page
    fields = {
        "payload_thread_id": str(forum.thread.pk),
        "payload_content": "<b>Hello</b>",
        "payload_author_type": "agent",
        "payload_author_id": "bot",
        "payload_client_request_id": "1",
    }
    answer = submit(mira, [], path, **fields)
    assert answer.status_code == 302, answer.content.decode()
    with in_tenant("alpha"):
        runner.run_due()
        assert Post.objects.get(author_type="agent").content == "<b>Hello</b>"


def test_the_form_names_each_field_that_is_wrong(mira, forum):
    path = "directives/directive/request/forum.post.create/"
    answer = submit(mira, [], path, payload_thread_id=str(uuid4()), payload_author_type="human")
    text = shown_again(mira, answer).content.decode()
    assert "There is none with this id here." in text
    assert text.count("This field is required.") == 3
    assert stored() == []


def test_a_type_with_further_fields_asks_for_them_for_a_whole_selection(mira, forum):
    with in_tenant("alpha"):
        second = forums.thread.make(category=forum.category, title="Second")
    page = mira.post(
        "/admin/forums/thread/",
        {
            "action": "request:forum.post.create",
            "_selected_action": [str(forum.thread.pk), str(second.pk)],
            "index": "0",
        },
        follow=True,
    )
    assert "payload_content" in page.content.decode()
    assert "payload_thread_id" not in page.content.decode()
    fields = {
        "payload_content": "Hi",
        "payload_author_type": "agent",
        "payload_author_id": "bot",
        "payload_client_request_id": "1",
    }
    submit(mira, [forum.thread, second], "directives/directive/request/forum.post.create/", **fields)
    assert {d.subject_id for d in stored()} == {str(forum.thread.pk), str(second.pk)}


def test_the_picker_finds_records_by_their_title_and_only_here(mira, forum):
    with in_tenant("beta"):
        make_forum()
    found = mira.get("/admin/directives/directive/pick/forum.thread/", {"term": "welc"}).json()
    assert found["results"] == [{"id": str(forum.thread.pk), "text": "Welcome"}]
    for term in ("nothing", "%", "x" * 5000):
        answer = mira.get("/admin/directives/directive/pick/forum.thread/", {"term": term})
        assert answer.status_code == 200
    assert mira.get("/admin/directives/directive/pick/no.such/").status_code == 404


def test_the_picker_shows_only_what_the_user_may_see(forum):
    nobody = client_of("nobody", permissions=["request_forum.post.hide"])
    assert nobody.get("/admin/directives/directive/pick/forum.post/").status_code == 403


def test_an_unknown_name_is_not_found(mira, forum):
    assert mira.get("/admin/directives/directive/request/forum.post.hyde/").status_code == 404
    assert select(mira, forum.posts, "request:forum.post.hyde").status_code == 404


@pytest.mark.parametrize("correlation_id", [ABSENT, "rubbish", "a/b", "'--"])
def test_an_unknown_batch_is_not_found(mira, correlation_id):
    assert mira.get(f"/admin/directives/directive/batch/{correlation_id}/").status_code == 404


def test_titles_reasons_and_errors_are_text_and_nothing_else(mira, database):
    hostile = "<script>alert(1)</script>"
    with in_tenant("alpha"):
        forum = make_forum()
        post = forums.post.make(thread=forum.thread, content=hostile)
    pages = [
        select(mira, [post]),
        shown_again(mira, submit(mira, [post], confirm="dry_run", reason=hostile)),
        mira.get(submit(mira, [post], reason=hostile).headers["Location"]),
    ]
    for page in pages:
        assert hostile not in page.content.decode()
        assert "&lt;script&gt;alert(1)" in page.content.decode()


def test_all_matching_can_be_selected_across_pages(mira, database):
    with in_tenant("alpha"):
        make_forum(120)
    page = select(mira, [], select_across="1", _selected_action="x")
    assert "Hide 120 posts" in page.content.decode()


def test_a_user_without_a_permission_is_refused_with_403_and_a_line_in_the_log(forum, caplog):
    auditor = client_of("aki", group="Auditor")
    with in_tenant("alpha"):
        before = Signal.objects.count()
    with caplog.at_level(logging.WARNING, logger="directives.authority.permissions"):
        for answer in (
            select(auditor, forum.posts),
            submit(auditor, forum.posts),
            submit(auditor, forum.posts, confirm="dry_run"),
            auditor.get(f"/admin/{HIDE}"),
            auditor.get("/admin/directives/directive/request/"),
        ):
            assert answer.status_code == 403
    assert "refused in tenant alpha: user" in caplog.text
    assert "(aki) may not request forum.post.hide" in caplog.text
    assert stored() == []
    with in_tenant("alpha"):
        assert Signal.objects.count() == before
        assert set(Post.objects.values_list("status", flat=True)) == {"published"}


def test_who_may_request_but_not_view_sees_no_content(forum):
    asker = client_of("asker", permissions=["request_forum.post.hide"])
    page = asker.text(HIDE, subjects=str(forum.posts[0].pk))
    assert "Post 0" not in page
    assert str(forum.posts[0].pk) in page
    assert submit(asker, forum.posts, confirm="dry_run").status_code == 403


def test_staff_who_see_nothing_of_directives_see_no_batch(forum):
    asker = client_of("asker", permissions=["request_forum.post.hide"])
    assert submit(asker, forum.posts).status_code == 302
    batch_id = stored()[0].correlation_id
    assert asker.get(f"/admin/directives/directive/batch/{batch_id}/").status_code == 403


def test_nobody_requests_without_logging_in(forum):
    answer = submit(AdminClient(), forum.posts)
    assert answer.status_code == 302
    assert "/admin/login/" in answer.headers["Location"]
    assert stored() == []


def test_a_form_from_elsewhere_is_refused(forum):
    user = make_user("alpha", "mira", groups=["Moderator"])
    strict = AdminClient().log_in(user)
    strict.handler.enforce_csrf_checks = True
    assert submit(strict, forum.posts).status_code == 403
    assert stored() == []


def test_times_that_are_over_by_the_time_it_is_confirmed_are_refused(mira, forum):
    past = (timezone.now() - timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M")
    shown_again(mira, submit(mira, forum.posts, when="later", at=past))
