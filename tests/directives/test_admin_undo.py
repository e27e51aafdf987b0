"""Undo in the admin, by real requests: of one directive, of several, of a batch."""

import re
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group, Permission
from model_bakery import baker

from directives import operations, registry, runner
from directives.authority import roles
from directives.models import Directive, Restriction
from fleetprompt.tenants.context import in_tenant
from forums.directive_handlers.hide_post import HidePost
from forums.models import Post
from signals.models import Signal
from signals.types import Actor
from tests.admin import AdminClient, client_of
from tests.library.models import Book
from tests.support import (
    ABSENT,
    TESTER,
    Forum,
    ask,
    ask_animal,
    claim,
    make_forum,
    meanwhile,
    run,
    wait_until,
)

LIST = "/admin/directives/directive/"
UNDO = f"{LIST}operate/undo/"
WATCH = Actor("system", "nightwatch")


@pytest.fixture
def forum(database) -> Forum:
    with in_tenant("alpha"):
        return make_forum()


@pytest.fixture
def mira(database) -> AdminClient:
    return client_of("mira", group=roles.MODERATOR)


@pytest.fixture
def hide(forum) -> Directive:
    """What has hidden the first post."""
    return do("forum.post.hide", forum.posts[0])


def do(name, *posts, **options):
    """Have a directive run for each post; return the last one."""
    with in_tenant("alpha"):
        asked = [ask(name, {"post_id": str(post.pk)}, **options).directive for post in posts]
        runner.run_due()
        return Directive.objects.get(pk=asked[-1].pk)


def run_due():
    with in_tenant("alpha"):
        runner.run_due()


def carried(page):
    """Return what the question's form carries by itself."""
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.content.decode())
    return dict(found)


def question(client, *directives):
    return client.get(UNDO, {"id": [directive.pk for directive in directives]})


def submit(client, fields, *directives, reason="a mistake"):
    selected = {"_selected_action": [str(one.pk) for one in directives]} if directives else {}
    return client.post(UNDO, {**fields, "reason": reason, **selected})


def answer(client, fields, *directives):
    """Submit the question; return the page with the answer."""
    response = submit(client, fields, *directives)
    assert response.status_code == 302, response.content.decode()
    assert "?kept=" not in response["Location"]
    return client.get(response["Location"])


def undo(client, *directives):
    """Ask the question and submit it; return the page with the answer."""
    return answer(client, carried(question(client, *directives)), *directives)


def shown_again(client, response):
    assert response.status_code == 302, "no answer to a POST is a page"
    assert "?kept=" in response["Location"]
    return client.get(response["Location"])


def results(page):
    return {result.directive_id: (result.word, result.text) for result, _ in page.context["rows"]}


def status_of(post):
    with in_tenant("alpha"):
        return Post.objects.get(pk=post.pk).status


def stored():
    with in_tenant("alpha"):
        return list(Directive.objects.order_by("pk").values()), Signal.objects.count()


def test_it_asks_why_and_says_what_became_of_it(mira, forum, hide):
    asked = question(mira, hide)
    assert "Undo 1 directive" in asked.content.decode()
    page = answer(mira, carried(asked), hide)
    assert results(page) == {hide.pk: ("Left to the cluster", "It is undone as soon as a worker is free.")}
    assert "hx-get" in page.content.decode(), "the answer follows it"
    with in_tenant("alpha"):
        undoing = Directive.objects.get(name="restriction.end")
    assert (undoing.causation_id, undoing.reason, undoing.actor_label) == (
        str(hide.pk),
        "a mistake",
        "mira",
    )
    run_due()
    page = mira.get(page.request["PATH_INFO"])
    assert results(page) == {hide.pk: ("Undone", "")}
    assert f"{LIST}{undoing.pk}/change/" in page.content.decode()
    assert status_of(forum.posts[0]) == "published"


def test_an_undo_that_fails_when_it_runs_says_why(mira, forum, hide):
    with in_tenant("alpha"):
        unhide = ask("forum.post.unhide", {"post_id": str(forum.posts[0].pk)}, actor=WATCH).directive
    page = undo(mira, hide)
    run_due()
    word, text = results(mira.get(page.request["PATH_INFO"]))[hide.pk]
    assert word == "Failed"
    assert "by system:nightwatch (forum.post.unhide)" in text
    with in_tenant("alpha"):
        assert Restriction.objects.get().ended_by == unhide.pk


@pytest.mark.parametrize("path", ["{pk}/undo/", "request/forum.post.unhide/?subjects=x&cause={pk}"])
def test_the_former_addresses_lead_to_the_question(mira, hide, path):
    page = mira.get(LIST + path.format(pk=hide.pk), follow=True)
    assert page.redirect_chain[-1][0].startswith(f"{UNDO}?id={hide.pk}")
    assert "Undo 1 directive" in page.content.decode()


def test_a_form_of_the_former_page_requests_nothing_and_leads_to_the_question(mira, forum, hide):
    before = stored()
    old = {"subjects": str(forum.posts[0].pk), "cause": str(hide.pk), "cause_attempt": "1"}
    fields = {"batch": str(uuid4()), "reason": "x", "when": "now", "confirm": "request"}
    page = mira.post(f"{LIST}request/forum.post.unhide/", {**old, **fields}, follow=True)
    assert "Undo 1 directive" in page.content.decode()
    assert stored() == before


def test_it_leaves_alone_what_ended_since(mira, forum, hide):
    fields = carried(question(mira, hide))
    do("forum.post.unhide", forum.posts[0], actor=WATCH)
    do("forum.post.hide", forum.posts[0], actor=WATCH)
    assert "operate/undo" not in mira.text(f"directives/directive/{hide.pk}/change/")
    assert "This can be done to nothing that you selected" in question(mira, hide).content.decode()
    before = stored()
    word, text = results(answer(mira, fields, hide))[hide.pk]
    assert word == "Not undone"
    assert re.fullmatch(r"Changed since by system:nightwatch, .*: “Unhide post”", text)
    assert stored() == before
    assert status_of(forum.posts[0]) == "hidden"


def test_it_ends_what_it_began_and_leaves_what_others_did(mira, forum, hide):
    fields = carried(question(mira, hide))
    do("forum.post.delete", forum.posts[0], actor=WATCH)
    answer(mira, fields, hide)
    run_due()
    assert status_of(forum.posts[0]) == "deleted"
    do("forum.post.restore", forum.posts[0], actor=WATCH)
    assert status_of(forum.posts[0]) == "published"


class HideForgetfully(HidePost):
    """Returns no revision."""

    def execute_many(self, work):
        return [
            {key: value for key, value in one.items() if key != "revision"}
            for one in super().execute_many(work)
        ]


def test_a_result_without_a_revision_is_undone_exactly_too(mira, forum, monkeypatch):
    monkeypatch.setitem(registry._handlers, "forum.post.hide", HideForgetfully())
    hide = do("forum.post.hide", forum.posts[0])
    fields = carried(question(mira, hide))
    do("forum.post.delete", forum.posts[0], actor=WATCH)
    answer(mira, fields, hide)
    run_due()
    assert status_of(forum.posts[0]) == "deleted"


def withdrawn(book):
    with in_tenant("alpha"):
        directive = ask("library.book.withdraw", {"book_id": book.pk}).directive
        run(directive)
    return directive


def test_an_inverse_undoes_what_began_no_restriction(database):
    ada = client_of("ada", superuser=True)
    with in_tenant("alpha"):
        book = baker.make(Book)
    first = withdrawn(book)
    undo(ada, first)
    run_due()
    with in_tenant("alpha"):
        assert Directive.objects.get(name="library.book.restore").causation_id == str(first.pk)
        book.refresh_from_db()
    assert book.status == "open"


def test_an_inverse_leaves_alone_what_changed_since(database):
    ada = client_of("ada", superuser=True)
    with in_tenant("alpha"):
        book = baker.make(Book)
    first = withdrawn(book)
    fields = carried(question(ada, first))
    with in_tenant("alpha"):
        for name in ("restore", "withdraw"):
            run(ask(f"library.book.{name}", {"book_id": book.pk}, actor=WATCH).directive)
    before = stored()
    word, text = results(answer(ada, fields, first))[first.pk]
    assert word == "Not undone"
    assert re.fullmatch(r"Changed since by system:nightwatch, .*: “Withdraw”.*", text)
    assert stored() == before


def test_an_inverse_that_others_overtake_fails_when_it_runs(mira, forum):
    hide = do("forum.post.hide", forum.posts[0])
    unhide = do("forum.post.unhide", forum.posts[0])
    undo(mira, unhide)
    with in_tenant("alpha"):
        again = Directive.objects.latest("created_at")
        operations.cancel(again.pk, actor=TESTER, reason="wait")
    do("forum.post.delete", forum.posts[0], actor=WATCH)
    with in_tenant("alpha"):
        operations.rerun(again.pk, actor=TESTER, reason="go on")
        runner.run_due()
        again.refresh_from_db()
    assert (again.name, again.status) == ("forum.post.hide", "failed")
    assert "expected_revision" in again.last_error
    assert hide.name == again.name


@pytest.mark.parametrize("is_run", [False, True], ids=["waits", "ran"])
def test_what_was_rerun_since_the_page_was_made_is_left_alone(mira, forum, hide, is_run):
    fields = carried(question(mira, hide))
    do("forum.post.unhide", forum.posts[0], actor=WATCH)
    with in_tenant("alpha"):
        operations.rerun(hide.pk, actor=TESTER, reason="it is worse than that")
        if is_run:
            runner.run_due()
    before = stored()
    page = shown_again(mira, submit(mira, fields, hide))
    assert "this was rerun since the page was made" in page.content.decode()
    # Also at the same address again.
    assert "this was rerun" in shown_again(mira, submit(mira, fields, hide)).content.decode()
    assert stored() == before
    if is_run:
        # Who has seen it may undo it.
        assert results(answer(mira, carried(page), hide))[hide.pk][0] == "Left to the cluster"
        run_due()
        assert status_of(forum.posts[0]) == "published"
    else:
        assert "It is requested; only one that has ended can be undone." in page.content.decode()


def test_a_double_submit_is_one_undo_with_one_answer(mira, hide):
    fields = carried(question(mira, hide))
    first = submit(mira, fields, hide)
    run_due()
    again = submit(mira, fields, hide)
    assert first["Location"] == again["Location"]
    assert results(mira.get(again["Location"]))[hide.pk] == ("Undone", "")
    with in_tenant("alpha"):
        assert Directive.objects.count() == 2


def test_two_people_at_once_are_one_undo(mira, hide):
    ada = client_of("ada", superuser=True)
    asked = {client: carried(question(client, hide)) for client in (mira, ada)}
    with meanwhile(lambda: results(answer(mira, asked[mira], hide))) as one:
        other = results(answer(ada, asked[ada], hide))
    assert one[0][hide.pk][0] == other[hide.pk][0] == "Left to the cluster"
    with in_tenant("alpha"):
        assert Directive.objects.filter(name="restriction.end").count() == 1


def test_who_asks_second_is_told_who_was_first(mira, hide):
    undo(mira, hide)
    page = undo(client_of("ada", superuser=True), hide)
    assert "mira asked for it before." in page.content.decode()


@pytest.mark.parametrize("state", ["requested", "running", "failed", "canceled"])
def test_what_has_not_succeeded_cannot_be_undone(mira, forum, state):
    with in_tenant("alpha"):
        lock = ask("forum.thread.lock", {"thread_id": str(forum.thread.pk)}).directive
        if state == "running":
            claim(lock)
        elif state == "canceled":
            operations.cancel(lock.pk, actor=TESTER, reason="x")
        elif state == "failed":
            Directive.objects.filter(pk=lock.pk).update(status="failed")
    page = question(mira, lock)
    word = "one that has ended" if state in ("requested", "running") else "what has succeeded"
    assert f"only {word} can be undone" in page.content.decode()
    assert "operate/undo" not in mira.text(f"directives/directive/{lock.pk}/change/")
    before = stored()
    word, text = results(answer(mira, {"token": str(uuid4())}, lock))[lock.pk]
    assert (word, text) == (
        "Not undone",
        f"“Lock thread” is {state}; only what has succeeded can be undone.",
    )
    assert stored() == before


def test_what_nothing_undoes_says_so(database):
    ada = client_of("ada", superuser=True)
    with in_tenant("alpha"):
        work = ask_animal("work")
        run(work)
    assert "There is no directive that undoes “Work”" in question(ada, work).content.decode()
    assert results(answer(ada, {"token": str(uuid4())}, work))[work.pk][0] == "Not undone"


@pytest.mark.parametrize(("pk", "status"), [("rubbish", 400), ("%00", 400), ("", 400), (ABSENT, 404)])
def test_what_is_no_directive_is_not_undone(mira, pk, status):
    assert mira.get(f"{UNDO}?id={pk}").status_code == status


@pytest.mark.parametrize(
    "seen", ["rubbish", "2026-01-01T00:00", "\x00", "x" * 5000, "0001-01-01T00:00+14:00"]
)
def test_a_form_with_a_time_that_is_none_is_asked_again(mira, hide, seen):
    fields = carried(question(mira, hide))
    before = stored()
    response = submit(mira, {**fields, "seen": seen}, hide)
    page = mira.get(response["Location"])
    assert "form" in page.context
    assert stored() == before


def test_who_may_not_view_directives_learns_of_none_by_undoing_it(forum, hide):
    may = ["view_post", "request_forum.post.unhide", "request_forum.post.hide", "request_restriction.end"]
    anton = client_of("anton", permissions=may)
    old = {"subjects": str(forum.posts[0].pk), "cause": str(hide.pk)}
    before = stored()
    for response in (
        anton.get(f"{LIST}{hide.pk}/undo/", follow=True),
        anton.get(f"{LIST}request/forum.post.unhide/", old, follow=True),
        question(anton, hide),
        submit(anton, {"token": str(uuid4())}, hide),
    ):
        assert response.status_code == 403
        assert "Hide post" not in response.content.decode()
    assert stored() == before


def test_it_needs_the_permission_of_what_it_undoes_and_of_what_undoes_it(forum, hide):
    view = ["view_directive", "view_post"]
    only_end = client_of("anton", permissions=[*view, "request_restriction.end"])
    only_hide = client_of("berta", permissions=[*view, "request_forum.post.hide"])
    before = stored()
    for client in (only_end, only_hide):
        assert "operate/undo" not in client.text(f"directives/directive/{hide.pk}/change/")
    assert question(only_end, hide).status_code == 403
    assert submit(only_end, {"token": str(uuid4())}, hide).status_code == 403
    assert "You may not request “End restriction”" in question(only_hide, hide).content.decode()
    word, text = results(answer(only_hide, {"token": str(uuid4())}, hide))[hide.pk]
    assert word == "Not allowed"
    assert "request_restriction.end" in text
    assert stored() == before


def test_who_loses_the_permission_after_the_question_is_refused(mira, hide):
    fields = carried(question(mira, hide))
    before = stored()
    with in_tenant("alpha"):
        group = Group.objects.get(name=roles.MODERATOR)
        right = Permission.objects.get(codename="request_forum.post.hide")
        group.permissions.remove(right)
    try:
        assert submit(mira, fields, hide).status_code == 403
    finally:
        with in_tenant("alpha"):
            group.permissions.add(right)
    assert stored() == before


def test_another_tenants_directive_is_not_found(mira):
    with in_tenant("beta"):
        theirs = ask_animal("work")
        run(theirs)
    assert question(mira, theirs).status_code == 404


def test_undoing_an_undo_is_the_same_again(mira, forum, hide):
    undo(mira, hide)
    run_due()
    with in_tenant("alpha"):
        ended = Directive.objects.get(name="restriction.end")
    assert f"operate/undo/?id={ended.pk}" in mira.text(f"directives/directive/{ended.pk}/change/")
    undo(mira, ended)
    run_due()
    assert status_of(forum.posts[0]) == "hidden"


def test_an_undo_that_failed_can_be_asked_for_again(mira, forum, hide):
    undo(mira, hide)
    with in_tenant("alpha"):
        first = Directive.objects.get(name="restriction.end")
        operations.cancel(first.pk, actor=TESTER, reason="wait")
    page = undo(mira, hide)
    run_due()
    assert results(mira.get(page.request["PATH_INFO"])) == {hide.pk: ("Undone", "")}
    assert status_of(forum.posts[0]) == "published"


def test_several_of_the_list_are_undone_and_each_says_what_came_of_it(mira, forum, hide):
    gone = do("forum.post.hide", forum.posts[1])
    do("forum.post.unhide", forum.posts[1], actor=WATCH)
    chosen = {"action": "undo", "index": "0", "_selected_action": [str(hide.pk), str(gone.pk)]}
    page = mira.post(LIST, chosen, follow=True)
    assert "Undo 1 directive" in page.content.decode()
    assert "1: Changed since by system:nightwatch" in page.content.decode()
    fields = {key: value for key, value in carried(page).items() if key != "_selected_action"}
    found = results(answer(mira, fields, hide, gone))
    assert (found[hide.pk][0], found[gone.pk][0]) == ("Left to the cluster", "Not undone")


def broken(mira, monkeypatch, name, ids=()):
    """Have an operation break, for all or for directives other than the first of `ids`."""
    real = getattr(operations, name)
    monkeypatch.setattr("directives.admin.submissions.LEASE_SECONDS", 1)
    monkeypatch.setattr(
        f"directives.operations.{name}", lambda pk, **options: real(pk, **options) if pk in ids else 1 / 0
    )
    mira.raise_request_exception = False


def stopped(mira, fields, *directives):
    """Submit a form that was submitted before, until its page says that it stopped."""

    def found():
        page = answer(mira, fields, *directives)
        return page if "stopped before its end" in page.content.decode() else None

    return wait_until(found, "it has stopped")


def test_an_undo_that_breaks_says_what_it_has_done_and_offers_the_rest(mira, forum, hide, monkeypatch):
    other = do("forum.post.hide", forum.posts[1])
    fields = carried(question(mira, hide, other))
    broken(mira, monkeypatch, "undo", [hide.pk])
    assert submit(mira, fields, hide, other).status_code == 500
    page = stopped(mira, fields, hide, other)
    assert {pk: word for pk, (word, _) in results(page).items()} == {hide.pk: "Left to the cluster"}
    rest = mira.post(UNDO, {**carried(page), "ask": "1"}, follow=True)
    assert "Undo 1 directive" in rest.content.decode()


def test_an_undo_of_a_batch_that_breaks_has_done_nothing_and_can_be_done_again(mira, batch, monkeypatch):
    monkeypatch.setattr("directives.admin.operating._BATCH_SECONDS", 0)
    fields = carried(mira.get(undo_link(mira, batch)))
    with monkeypatch.context() as patch:
        broken(mira, patch, "undo_batch")
        assert submit(mira, fields).status_code == 500
        page = stopped(mira, fields)
    assert "3 of 3 were not touched" in page.content.decode()
    rest = mira.post(UNDO, {**carried(page), "ask": "1"}, follow=True)
    found = results(answer(mira, carried(rest)))
    assert {word for word, _ in found.values()} == {"Left to the cluster"}


@pytest.fixture
def batch(forum) -> str:
    """A batch that hid the three posts."""
    number = "wave/1 of 2"
    do("forum.post.hide", *forum.posts, correlation_id=number)
    return number


def test_a_batch_is_undone_and_what_changed_since_is_listed_with_what_changed_it(mira, forum, batch):
    url = undo_link(mira, batch)
    page = mira.get(url)
    assert "Undo 3 directives" in page.content.decode()
    do("forum.post.unhide", forum.posts[1], actor=WATCH, reason="that one is fine")
    page = answer(mira, carried(page))
    with in_tenant("alpha"):
        hides = {str(one.subject_id): one.pk for one in Directive.objects.filter(name="forum.post.hide")}
    first, changed, last = (hides[str(post.pk)] for post in forum.posts)
    found = results(page)
    assert found[first][0] == found[last][0] == "Left to the cluster"
    assert found[changed][0] == "Not undone"
    assert found[changed][1].endswith(": “Unhide post”: “that one is fine”")
    run_due()
    page = mira.get(page.request["PATH_INFO"])
    found = results(page)
    assert next(iter(found)) == changed, "what was not done comes first"
    assert found[first] == found[last] == ("Undone", "")
    assert {status_of(post) for post in forum.posts} == {"published"}


def undo_link(client, batch):
    """Return where the button of the batch's page leads."""
    page = client.get(f"{LIST}batch/{batch}/")
    [url] = re.findall(r'id="undo-batch" href="([^"]*)"', page.content.decode())
    return url.replace("&amp;", "&")


def test_a_batch_is_undone_once(mira, forum, batch):
    fields = carried(mira.get(undo_link(mira, batch)))
    first, again = submit(mira, fields), submit(mira, fields)
    assert first["Location"] == again["Location"]
    ada = client_of("ada", superuser=True)
    page = answer(ada, carried(ada.get(undo_link(ada, batch))))
    assert page.content.decode().count("mira asked for it before.") == 3
    with in_tenant("alpha"):
        assert Directive.objects.filter(name="restriction.end").count() == 3


def test_a_batch_with_one_that_was_rerun_since_is_left_alone(mira, forum, batch):
    fields = carried(mira.get(undo_link(mira, batch)))
    with in_tenant("alpha"):
        one = Directive.objects.filter(correlation_id=batch).first()
        operations.rerun(one.pk, actor=TESTER, reason="again")
        runner.run_due()
    before = stored()
    page = shown_again(mira, submit(mira, fields))
    assert "this was rerun since the page was made" in page.content.decode()
    assert stored() == before
    assert answer(mira, carried(page)).status_code == 200


def test_the_timers_of_a_batch_are_no_part_of_it(mira, forum):
    later = datetime(2999, 1, 1, tzinfo=UTC)
    with in_tenant("alpha"):
        for post in forum.posts:
            ask(
                "forum.post.hide",
                {"post_id": str(post.pk)},
                correlation_id="wave",
                expires_at=later,
            )
        runner.run_due()
    assert "Done: 3 of 3" in mira.text("directives/directive/batch/wave/")
    page = answer(mira, carried(mira.get(undo_link(mira, "wave"))))
    assert len(results(page)) == 3
    run_due()
    assert {status_of(post) for post in forum.posts} == {"published"}


def test_only_who_may_undo_all_of_a_batch_is_offered_it(mira, forum, batch):
    do("forum.post.delete", forum.posts[0], correlation_id=batch)
    with in_tenant("alpha"):
        Directive.objects.filter(name="forum.post.delete").update(correlation_id=batch)
    page = mira.get(f"{LIST}batch/{batch}/")
    assert "undo-batch" not in page.content.decode()
    before = stored()
    assert mira.get(UNDO, {"batch": batch}).status_code == 403
    assert submit(mira, {"token": str(uuid4()), "batch": batch}).status_code == 403
    assert stored() == before


@pytest.mark.parametrize("batch", ["none", "x" * 5000, "'--"])
def test_an_unknown_batch_is_not_undone(mira, batch):
    assert mira.get(UNDO, {"batch": batch}).status_code == 404


def test_only_an_undo_takes_a_batch(mira, batch):
    assert mira.get(f"{LIST}operate/snooze/", {"batch": batch}).status_code == 400
