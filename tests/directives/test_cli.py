"""`manage.py directive types|run|list|show|snooze|cancel|rerun`: effects, output and refusals."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.utils import timezone

from directives import operations
from directives.admin.listing import in_status
from directives.cli.rows import directive_row
from directives.models import Directive
from fleetprompt.tenants.context import in_tenant
from forums.models import Post
from signals.models import Signal
from signals.types import Actor
from tests.directives.commands import FIELDS, asked, directive, reloaded, stored
from tests.support import ABSENT, TESTER, ask, ask_animal, make_forum, run, written_by

SUBCOMMANDS = ("types", "request", "run", "list", "show", "snooze", "cancel", "rerun")


@pytest.fixture
def forum(database):
    """A forum in the tenant alpha; the test itself stays outside, as a command does."""
    with in_tenant("alpha"):
        return make_forum()


@pytest.fixture
def post(forum):
    return str(forum.posts[0].pk)


@pytest.mark.parametrize("subcommand", SUBCOMMANDS)
def test_every_subcommand_explains_itself(capsys, subcommand):
    with pytest.raises(SystemExit) as ended:
        call_command("directive", subcommand, "--help")
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: ")
    assert "--format {table,json}" in out


def test_types_lists_every_handler_with_what_there_is_to_know(database):
    rows = directive("types", tenant=None).printed
    assert [row["name"] for row in rows] == sorted(row["name"] for row in rows)
    hide = next(row for row in rows if row["name"] == "forum.post.hide")
    schema = hide.pop("payload_schema")
    assert hide == {
        "name": "forum.post.hide",
        "label": "Hide post",
        "description": "Hides a post from readers.",
        "permission": "directives.request_forum.post.hide",
        "inverse": "forum.post.unhide",
        "timeout_seconds": 30.0,
        "max_attempts": hide["max_attempts"],
    }
    assert schema["required"] == ["post_id"]
    assert schema["additionalProperties"] is False


def test_types_describes_one(database):
    row = directive("types", "forum.thread.lock", tenant=None).printed
    assert row["name"] == "forum.thread.lock"
    text = directive("types", "forum.thread.lock", tenant=None, form="table").printed
    assert "permission: directives.request_forum.thread.lock" in text
    assert '"thread_id"' in text


def test_types_names_the_near_ones_of_an_unknown_name(database):
    assert "did you mean forum.post.hide" in directive("types", "forum.post.hid", tenant=None).error


def test_run_works_through_what_is_due(forum):
    with in_tenant("alpha"):
        ids = [str(ask("forum.post.hide", {"post_id": str(p.pk)}).directive.id) for p in forum.posts]
        later = timezone.now() + timedelta(hours=1)
        ask("forum.thread.lock", {"thread_id": str(forum.thread.pk)}, scheduled_at=later)
    rows = directive("run").printed
    assert [row["id"] for row in rows] == ids
    assert list(rows[0]) == ["tenant", "id", "name", "outcome", "reason"]
    assert {row["outcome"] for row in rows} == {"succeeded"}
    with in_tenant("alpha"):
        assert Post.objects.filter(status="hidden").count() == 3
    assert directive("run").printed == []
    assert "Nothing was due." in directive("run", form="table").printed


def test_run_takes_every_active_tenant_when_asked(database):
    for slug in ("alpha", "beta"):
        with in_tenant(slug):
            ask("forum.post.hide", {"post_id": str(make_forum().posts[0].pk)})
    rows = directive("run", "--all-tenants", tenant=None).printed
    assert [(row["tenant"], row["outcome"]) for row in rows] == [
        ("alpha", "succeeded"),
        ("beta", "succeeded"),
    ]


def test_run_of_one_says_how_it_ended(post):
    one = asked(post)
    [row] = directive("run", "--id", str(one.id)).printed
    assert (row["outcome"], row["name"]) == ("succeeded", "forum.post.hide")
    answer = directive("run", "--id", str(one.id))
    assert answer.printed[0]["outcome"] == "discarded"
    assert answer.error.startswith("discarded: already succeeded")
    again = directive("run", "--id", str(one.id), "--rerun", "--reason", "to be sure")
    assert (again.printed[0]["outcome"], again.error) == ("succeeded", "")
    with in_tenant("alpha"):
        assert Directive.objects.get().attempt == 2


def test_run_of_one_that_fails_is_a_failure(database):
    with in_tenant("alpha"):
        one = ask("forum.post.hide", {"post_id": str(uuid4())}).directive
    answer = directive("run", "--id", str(one.id))
    assert answer.printed[0]["outcome"] == "failed"
    assert answer.error.startswith("failed: DirectiveError: forum.post: there is no")


@pytest.mark.parametrize(
    ("arguments", "tenant", "message"),
    [
        (["--id", "7"], "alpha", "id: expected a UUID"),
        (["--id", ABSENT], "alpha", "discarded: not found in this tenant"),
        (["--rerun"], "alpha", "--rerun: expected together with --id"),
        (["--all-tenants", "--id", ABSENT], None, "--id: expected together with --tenant"),
        ([], "gamma", "tenant: there is no tenant 'gamma'"),
        ([], None, "Error: one of the arguments --tenant --all-tenants is required"),
    ],
)
def test_a_bad_run_is_refused(database, arguments, tenant, message):
    assert directive("run", *arguments, tenant=tenant).error.startswith(message)


def test_list_shows_the_newest_first_and_filters(forum):
    with in_tenant("alpha"):
        posts = [str(p.pk) for p in forum.posts]
        hides = [ask("forum.post.hide", {"post_id": post}).directive for post in posts]
        lock = ask("forum.thread.lock", {"thread_id": str(forum.thread.pk)}).directive
        run(hides[0])
    assert _ids(directive("list")) == _ids_of(lock, *reversed(hides))
    assert list(directive("list").printed[0]) == FIELDS
    assert _ids(directive("list", "--limit", "1")) == _ids_of(lock)
    assert _ids(directive("list", "--status", "succeeded")) == _ids_of(hides[0])
    assert len(_ids(directive("list", "--status", "succeeded", "--status", "requested"))) == 4
    assert _ids(directive("list", "--name", "forum.thread.lock")) == _ids_of(lock)
    assert _ids(directive("list", "--subject", f"forum.post:{posts[1]}")) == _ids_of(hides[1])
    assert directive("list", tenant="beta").printed == []
    assert "No directives match." in directive("list", tenant="beta", form="table").printed


def test_list_parts_the_requested_ones_as_the_admin_does(forum):
    with in_tenant("alpha"):
        due, asked_for_later, snoozed = (
            ask("forum.post.hide", {"post_id": str(post.pk)}, scheduled_at=at).directive
            for post, at in zip(forum.posts, [None, timezone.now() + timedelta(hours=1), None], strict=True)
        )
        operations.snooze(snoozed.id, timezone.now() + timedelta(hours=2), actor=TESTER, reason="later")
        admin = {
            name: set(Directive.objects.filter(in_status(name)).values_list("pk", flat=True))
            for name in ("requested", "snoozed")
        }
    assert _ids(directive("list", "--status", "snoozed")) == _ids_of(snoozed, asked_for_later)
    assert _ids(directive("list", "--status", "due")) == _ids_of(due)
    assert len(_ids(directive("list", "--status", "requested"))) == 3
    assert len(_ids(directive("list", "--status", "due", "--status", "snoozed"))) == 3
    assert admin == {"requested": {due.pk}, "snoozed": {snoozed.pk, asked_for_later.pk}}
    assert directive("list", form="table").printed.count(" snoozed ") == 2


def test_list_of_all_tenants_names_each(database):
    asked = {}
    for slug in ("alpha", "beta", "alpha"):
        with in_tenant(slug):
            asked[str(ask_animal("work").pk)] = slug
    found = directive("list", "--all-tenants", tenant=None).printed
    assert [(row["id"], row["tenant"]) for row in found] == list(reversed(asked.items()))
    assert list(found[0]) == ["tenant", *FIELDS]
    assert len(directive("list", "--all-tenants", "--limit", "2", tenant=None).printed) == 2
    header, *_ = directive("list", "--all-tenants", tenant=None, form="table").printed.splitlines()
    assert header.split()[:2] == ["tenant", "id"]


@pytest.mark.parametrize("columns", [40, 80, 100, 140, 200, None])
def test_list_leaves_nothing_out_however_narrow_the_terminal_is(forum, monkeypatch, columns):
    reason = "Cooling off until everybody has slept over it and the moderators have met"
    one = asked(str(forum.posts[0].pk), reason=reason, actor=Actor("agent", "sweeper", "The sweeper"))
    if columns:
        monkeypatch.setenv("COLUMNS", str(columns))
    lines = directive("list", form="table").printed.splitlines()
    shown = " ".join(" ".join(lines).split())
    created = f"{timezone.localtime(one.created_at):%Y-%m-%d %H:%M:%S}"
    for what in (str(one.id), one.name, "requested", created, "The sweeper", *reason.split(), "0/5"):
        assert what in shown
    # Only where the terminal is narrower than the subject alone is it folded.
    assert str(one.subject) in (shown if columns != 40 else shown.replace(" ", ""))
    assert max(map(len, lines)) <= (columns or 240)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--limit", "0"], "--limit: expected 1 to"),
        (["--limit", "many"], "Error: argument --limit: invalid int value"),
        (["--status", "done"], "Error: argument --status: invalid choice: 'done'"),
        (["--all-tenants"], "Error: argument --"),
        (["--subject", "post"], "--subject: expected TYPE:ID"),
        (["--subject", "forum.post:"], "--subject: expected TYPE:ID"),
    ],
)
def test_a_bad_list_is_refused(database, arguments, message):
    assert directive("list", *arguments).error.startswith(message)


def test_show_tells_the_whole_story(post):
    one = asked(post, reason="spam")
    with in_tenant("alpha"):
        run(one)
    told = directive("show", str(one.id)).printed
    assert list(told["directive"]) == FIELDS
    assert told["directive"]["status"] == "succeeded"
    assert [signal["name"] for signal in told["timeline"]] == [
        "directive.requested",
        "directive.started",
        "forum.post.hidden",
        "directive.succeeded",
    ]
    assert list(told["timeline"][0]) == ["id", "name", "at", "attempt", "actor", "payload"]
    text = directive("show", str(one.id), form="table").printed
    assert "forum.post.hidden" in text
    assert "spam" in text


@pytest.mark.parametrize(("pk", "message"), [("7", "id: expected a UUID"), (ABSENT, "id: tenant alpha")])
def test_show_of_what_is_not_there_is_refused(database, pk, message):
    assert directive("show", pk).error.startswith(message)


def test_another_tenants_directive_is_not_there(post):
    one = asked(post)
    for subcommand in (["show"], ["cancel", "--reason", "x"], ["rerun", "--reason", "x"]):
        answer = directive(*subcommand[:1], str(one.id), *subcommand[1:], tenant="beta")
        assert answer.error.startswith("id: ")


@pytest.mark.parametrize(
    ("option", "seconds"),
    [("2h", 7200), ("90m", 5400), ("1d12h", 129_600), ("5s", 5), ("1d1h1m1s", 90_061)],
)
def test_snooze_puts_off_for_a_while(post, option, seconds):
    one = asked(post)
    before = timezone.now()
    [row] = directive("snooze", str(one.id), "--for", option, "--reason", "later").printed
    one = reloaded(one)
    assert before <= one.scheduled_at - timedelta(seconds=seconds) <= timezone.now()
    assert row == directive_row(one)
    assert one.attempt == 0


def test_snooze_puts_off_until_a_time(post):
    one = asked(post)
    assert not directive(
        "snooze", str(one.id), "--until", "2031-02-03T04:05:06+01:00", "--reason", "later"
    ).error
    assert reloaded(one).scheduled_at == datetime(2031, 2, 3, 3, 5, 6, tzinfo=UTC)


def test_cancel_and_rerun_leave_their_actor_and_reason(post):
    one = asked(post)
    directive("cancel", str(one.id), "--reason", "no", "--actor", "agent:sweeper")
    assert reloaded(one).status == "canceled"
    directive("rerun", str(one.id), "--reason", "yes after all", "--actor", "agent:sweeper")
    assert reloaded(one).status == "requested"
    with in_tenant("alpha"):
        told = Signal.objects.filter(name__in=["directive.canceled", "directive.rerun_requested"])
        assert [(s.payload["reason"], str(s.actor)) for s in told] == [
            ("no", "agent:sweeper"),
            ("yes after all", "agent:sweeper"),
        ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["snooze", "ID", "--until", "2001-01-01T00:00", "--reason", "x"],
            "until: expected a time in the fut",
        ),
        (
            ["snooze", "ID", "--until", "9999-12-31T23:00-10:00", "--reason", "x"],
            "until: expected a time bet",
        ),
        (["snooze", "ID", "--until", "noon", "--reason", "x"], "--until: expected a time in ISO 8601"),
        (["snooze", "ID", "--until", "", "--reason", "x"], "--until: expected a time in ISO 8601"),
        (["snooze", "ID", "--for", "soon", "--reason", "x"], "--for: expected a duration"),
        (["snooze", "ID", "--for", "", "--reason", "x"], "--for: expected a duration"),
        (["snooze", "ID", "--for", "0s", "--reason", "x"], "until: expected a time in the future"),
        (
            ["snooze", "ID", "--for", "9" * 20 + "d", "--reason", "x"],
            "--for: expected a duration that ends",
        ),
        (["snooze", "ID", "--for", "9999999d", "--reason", "x"], "--for: expected a duration that ends"),
        (["snooze", "ID", "--for", "2h", "--reason", ""], "reason: expected a text that is not empty"),
        (["snooze", "ID", "--for", "2h"], "Error: the following arguments are required: --reason"),
        (["snooze", "ID", "--reason", "x"], "Error: one of the arguments --until --for is required"),
        (["cancel", "ID", "--reason", "r" * 1001], "reason: expected at most 1000"),
        (["cancel", "7", "--reason", "x"], "id: expected a UUID"),
        (["cancel", ABSENT, "--reason", "x"], "id: "),
        (["cancel", "ID", "--reason", "x", "--actor", "user:1"], "--actor: this tenant has no active user"),
        (["rerun", "ID", "--reason", "x"], "status: "),
    ],
)
def test_a_bad_operation_is_refused_by_name_and_changes_nothing(post, arguments, message):
    one = asked(post)
    arguments = [str(one.id) if word == "ID" else word for word in arguments]
    answer = directive(*arguments)
    assert answer.error.startswith(message)
    assert directive_row(reloaded(one)) == directive_row(one)
    assert stored() == (1, 1)


@pytest.mark.parametrize("subcommand", ["snooze", "cancel"])
def test_what_has_ended_is_neither_snoozed_nor_canceled(post, subcommand):
    one = asked(post)
    with in_tenant("alpha"):
        run(one)
    extra = ["--for", "2h"] if subcommand == "snooze" else []
    answer = directive(subcommand, str(one.id), *extra, "--reason", "x")
    assert "succeeded" in answer.error
    assert reloaded(one).status == "succeeded"


def test_a_running_one_is_not_rerun(database):
    with in_tenant("alpha"):
        one = ask_animal("work")
        Directive.objects.filter(pk=one.pk).update(
            status="running", attempt=1, lease_expires_at=timezone.now() + timedelta(minutes=1)
        )
    answer = directive("rerun", str(one.id), "--reason", "x")
    assert "running" in answer.error
    assert reloaded(one).status == "running"


def _ids(answer):
    return [row["id"] for row in answer.printed]


def _ids_of(*directives):
    return [str(directive.id) for directive in directives]


@pytest.mark.parametrize(
    ("arguments", "tenant", "message"),
    [
        (["run", "--tenant", ""], None, "tenant: "),
        (["run", "--id", ""], "alpha", "id: expected a UUID"),
        (["request", "forum.post.hide", "--from", ""], "alpha", "--from: "),
        (["request", "forum.post.hide", "--payload", "{}", "--at", ""], "alpha", "--at: expected a time"),
        (["list", "--subject", ""], "alpha", "--subject: expected TYPE:ID"),
        (["types", ""], None, "name: "),
    ],
)
def test_an_empty_option_is_not_taken_for_one_that_was_left_out(post, arguments, tenant, message):
    waiting = asked(post)
    answer = directive(*arguments, tenant=tenant)
    assert answer.error.startswith(message), answer.error
    assert reloaded(waiting).status == "requested"


def test_show_has_scope_and_member(forum):
    with in_tenant("alpha"):
        member = written_by("ann", forum.posts[0])
    shown = directive("show", str(asked(str(forum.posts[0].pk)).pk)).printed["directive"]
    assert (shown["scope"], shown["member_id"]) == (str(forum.category.pk), str(member.pk))
