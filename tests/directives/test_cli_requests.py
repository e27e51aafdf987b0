"""`manage.py directive request`: one directive, or a file of them with good and bad lines."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from django.conf import settings

from directives.cli.rows import directive_row
from directives.models import Directive
from fleetprompt.tenants.context import in_tenant
from fleetprompt.tenants.models import Tenant
from fleetprompt.tenants.provisioning import create_tenant
from tests.directives.commands import FIELDS, directive, hide, stored
from tests.recipes import accounts
from tests.support import environment, make_forum, manage

SECRET = "ghp_" + "a" * 36


@pytest.fixture
def forum(database):
    """A forum in the tenant alpha; the test itself stays outside, as a command does."""
    with in_tenant("alpha"):
        return make_forum()


@pytest.fixture
def post(forum):
    return str(forum.posts[0].pk)


@pytest.fixture
def lines(tmp_path):
    """Request the lines of a file; return the report and the error."""

    def lines(*content, name=None, **options):
        path = tmp_path / "lines.jsonl"
        path.write_bytes(b"\n".join(_bytes(line) for line in content) + b"\n")
        return directive("request", *([name] if name else []), "--from", str(path), **options)

    return lines


def test_request_stores_everything_that_was_asked(post):
    options = ["--key", "k", "--at", "2030-01-31T09:00", "--reason", "spam", "--correlation-id", "all"]
    actor = ["--actor", "agent:sweeper:The sweeper"]
    answer = directive("request", "forum.post.hide", "--payload", hide(post), *options, *actor)
    [row] = answer.printed
    assert list(row) == [*FIELDS, "created"]
    assert (row["created"], row["status"], row["attempt"]) == (True, "requested", 0)
    with in_tenant("alpha"):
        stored = Directive.objects.get()
    assert {**directive_row(stored), "created": True} == row
    assert (stored.idempotency_key, stored.reason, stored.correlation_id) == ("k", "spam", "all")
    assert stored.scheduled_at == datetime(2030, 1, 31, 9, tzinfo=UTC)
    assert str(stored.actor) == "The sweeper"


def test_request_again_says_that_nothing_was_created(post):
    rows = [directive("request", "forum.post.hide", "--payload", hide(post)).printed[0] for _ in "12"]
    assert [row["created"] for row in rows] == [True, False]
    assert rows[0]["id"] == rows[1]["id"]


def test_a_user_asks_under_the_user_name(post):
    with in_tenant("alpha"):
        mira = accounts.superuser.make(username="mira", first_name="Mira", last_name="Okafor")
    arguments = ["request", "forum.post.hide", "--payload", hide(post), "--actor", "user:mira"]
    [row] = directive(*arguments).printed
    assert (row["actor_type"], row["actor_id"], row["actor_label"]) == ("user", str(mira.pk), "Mira Okafor")


def test_request_is_signed_with_the_command_line_by_default(post):
    [row] = directive("request", "forum.post.hide", "--payload", hide(post)).printed
    assert (row["actor_type"], row["actor_id"]) == ("system", "cli")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["forum.post.hidden", "--payload", "{}"], "name: there is no directive 'forum.post.hidden'"),
        (["--payload", "{}"], "NAME: expected"),
        (["forum.post.hide", "--payload", "{"], "--payload: expected a JSON object"),
        (["forum.post.hide", "--payload", "[]"], "--payload: expected a JSON object; got a list"),
        (["forum.post.hide", "--payload", "{}"], "payload.post_id: expected a value; it is missing"),
        (["forum.post.hide", "--payload", '{"post_id": 7}'], "payload.post_id: "),
        (["forum.post.hide", "--payload", '{"post_id": "7"}'], "payload.post_id: "),
        (["forum.post.hide", "--payload", '{"post_id": NaN}'], "payload: expected JSON values"),
        (
            ["forum.post.hide", "--payload", '{"post_id": "01890000-0000-7000-8000-000000000000", "x": 1}'],
            "payload.x: ",
        ),
        (["forum.post.hide", "--payload", '{"api_key": "x"}'], "payload.api_key: expected no field"),
        (["OK", "--reason", SECRET], "reason: expected no secret"),
        (["OK", "--reason", "r" * 1001], "reason: expected at most 1000"),
        (["OK", "--key", "k" * 513], "idempotency_key: expected at most 512"),
        (["OK", "--key", " "], "idempotency_key: expected a text that is not empty"),
        (["OK", "--at", "tomorrow"], "--at: expected a time in ISO 8601"),
        (["OK", "--at", "2030-13-01T00:00"], "--at: expected a time in ISO 8601"),
        (["OK", "--at", "9999-12-31T23:00-10:00"], "scheduled_at: expected a time between the years"),
        (["OK", "--actor", "ann"], "--actor: expected TYPE:ID[:LABEL]"),
        (["OK", "--actor", "robot:7"], "--actor: actor.type: expected"),
        (["OK", "--actor", "user:"], "--actor: actor.id: expected"),
        (["OK", "--actor", "user:007"], "--actor: actor.id: expected the id in its one form, '7'"),
        (["OK", "--correlation-id", "a\nb"], "correlation_id: expected no control characters"),
        (
            ["OK", "--actor", "user:999999"],
            "--actor: this tenant has no active user with the name or id '999999'",
        ),
        (["OK", "--correlation-id", "c" * 256], "correlation_id: expected at most 255"),
        (["OK", "--tenant", "gamma"], "tenant: there is no tenant 'gamma'"),
        (["OK", "--tenant", "public"], "tenant: there is no tenant 'public'"),
    ],
)
def test_a_bad_request_is_refused_by_name_and_stores_nothing(post, arguments, message):
    if arguments[0] == "OK":
        arguments = ["forum.post.hide", "--payload", hide(post), *arguments[1:]]
    tenant = None if "--tenant" in arguments else "alpha"
    answer = directive("request", *arguments, tenant=tenant)
    assert answer.error.startswith(message)
    assert answer.printed == ""
    assert SECRET not in answer.error
    assert stored() == (0, 0)


def test_a_payload_too_large_is_refused(forum):
    payload = {
        "thread_id": str(forum.thread.pk),
        "content": "ä" * 20_001,
        "author_id": "bot",
        "client_request_id": "1",
    }
    answer = directive("request", "forum.post.create", "--payload", json.dumps(payload))
    assert answer.error.startswith("payload.content: expected at most 20000 characters; got 20001")
    assert stored() == (0, 0)


def test_a_key_used_with_another_payload_names_the_directive_that_has_it(forum):
    first, second = (str(forum.posts[n].pk) for n in (0, 1))
    [row] = directive("request", "forum.post.hide", "--payload", hide(first), "--key", "k").printed
    answer = directive("request", "forum.post.hide", "--payload", hide(second), "--key", "k")
    assert answer.error.startswith("idempotency_key: 'k' belongs to the directive " + row["id"])
    assert stored() == (1, 1)


def test_a_suspended_tenant_takes_no_directives(database):
    tenant = create_tenant("harbor", name="Harbor", domain="harbor.localhost")
    Tenant.objects.filter(pk=tenant.pk).update(status="suspended")
    answer = directive("request", "forum.post.hide", "--payload", hide(uuid4()), tenant="harbor")
    assert answer.error.startswith("tenant: harbor is suspended")


def test_good_lines_are_requested_and_bad_ones_reported_with_their_numbers(forum, lines):
    a, b, c = (str(post.pk) for post in forum.posts)
    bad = {
        2: (b'{"payload": ', "expected one JSON object; "),
        4: (b'{"payload": {"post_id": "caf\xe9"}}', "expected one JSON object; "),
        5: (b"[]", "expected one JSON object; got a list"),
        6: (
            {"payload": {"post_id": a}, "when": "now"},
            "when: expected only the fields name, payload, key",
        ),
        7: ({"payload": {"post_id": a}, "key": 7}, "key: expected text; got a number"),
        8: ({"payload": {"post_id": a}, "reason": None}, "reason: expected text; got null"),
        9: ({"payload": {"post_id": a}, "name": "no.such"}, "name: there is no directive 'no.such'"),
        10: ({"payload": [a]}, "payload: expected an object; got a list"),
        11: ({"payload": {"post_id": "x"}}, "payload.post_id: "),
        12: ({"payload": {"post_id": a, "password": "x"}}, "payload.password: expected no field"),
        13: ({"payload": {"post_id": a}, "reason": SECRET}, "reason: expected no secret"),
        14: ({"payload": {"post_id": b}, "key": "one"}, "idempotency_key: 'one' belongs to"),
        15: ({"payload": {"post_id": a}, "at": "soon"}, "at: expected a time in ISO 8601"),
        16: ({"key": "two"}, "payload: expected an object; it is missing"),
        17: ({"payload": {"post_id": a}, "key": " "}, "idempotency_key: expected a text"),
    }
    good = {
        1: {"payload": {"post_id": a}, "key": "one"},
        18: {"payload": {"post_id": b}, "at": "2030-01-01T00:00Z", "reason": "later"},
        19: {"name": "forum.post.delete", "payload": {"post_id": c}},
        20: {"payload": {"post_id": a}, "key": "one"},
    }
    content = [good.get(n) or bad.get(n, (b"  ",))[0] for n in range(1, 21)]
    answer = lines(*content, name="forum.post.hide")
    report = answer.printed
    assert answer.error == (
        f"{len(bad)} lines were refused; of the others, 3 were requested and 1 was known already."
    )
    assert [row["line"] for row in report["refused"]] == list(bad)
    for row in report["refused"]:
        assert row["error"].startswith(bad[row["line"]][1])
        assert SECRET not in row["error"]
    assert (report["created"], report["existing"]) == (3, 1)
    assert [(d["line"], d["created"]) for d in report["directives"]] == [
        (1, True),
        (18, True),
        (19, True),
        (20, False),
    ]
    with in_tenant("alpha"):
        stored = list(Directive.objects.order_by("id"))
    assert [str(d.id) for d in stored] == [d["id"] for d in report["directives"][:3]]
    assert [d.name for d in stored] == ["forum.post.hide", "forum.post.hide", "forum.post.delete"]
    assert {d.correlation_id for d in stored} == {report["correlation_id"]}
    assert (stored[1].reason, stored[1].scheduled_at.year) == ("later", 2030)


def test_a_file_with_a_byte_order_mark_and_windows_line_ends_is_read(post, lines):
    answer = lines(b"\xef\xbb\xbf" + _bytes({"payload": {"post_id": post}}) + b"\r", name="forum.post.hide")
    assert (answer.error, answer.printed["created"]) == ("", 1)


def test_options_apply_to_all_lines(post, lines):
    path_options = {"name": "forum.post.hide"}
    answer = lines({"payload": {"post_id": post}}, **path_options)
    assert answer.printed["created"] == 1
    with in_tenant("alpha"):
        assert Directive.objects.get().reason == ""


def test_lines_without_a_name_need_one_for_all(post, lines):
    [refused] = lines({"payload": {"post_id": post}}).printed["refused"]
    assert refused == {"line": 1, "error": "name: expected in the line, or as NAME for all lines"}


def test_the_error_says_what_became_of_the_others(forum, lines):
    good, other = ({"payload": {"post_id": str(post.pk)}, "key": f"k{post.pk}"} for post in forum.posts[:2])

    def error(*content):
        return lines(*content, name="forum.post.hide").error

    assert error(b"[]", b"[]", b"{") == "3 lines were refused; nothing was requested."
    assert error(b"[]") == "1 line was refused; nothing was requested."
    assert error(good, b"[]") == "1 line was refused; of the others, 1 was requested."
    assert error(good, b"[]") == "1 line was refused; of the others, 1 was known already."
    assert error(good, other, b"[]") == (
        "1 line was refused; of the others, 1 was requested and 1 was known already."
    )
    assert error(good, other) == ""


def test_an_empty_file_requests_nothing(forum, lines):
    answer = lines(b"", name="forum.post.hide")
    assert (answer.error, answer.printed["directives"], answer.printed["refused"]) == ("", [], [])
    shown = lines(b"", name="forum.post.hide", form="table").printed
    assert shown == "The file has no lines: nothing was requested.\n"


def test_more_lines_than_a_batch_are_all_requested(forum, lines):
    content = [{"payload": {"post_id": str(uuid4())}} for _ in range(1100)]
    content[600] = b"?"
    report = lines(*content, name="forum.post.hide").printed
    assert (report["created"], [row["line"] for row in report["refused"]]) == (1099, [601])
    assert stored() == (1099, 1099)


@pytest.mark.parametrize("option", [("--key", "k"), ("--at", "2030-01-01T00:00")])
def test_what_belongs_in_the_lines_is_refused_beside_a_file(forum, tmp_path, option):
    path = tmp_path / "lines.jsonl"
    path.write_text("")
    assert directive("request", "--from", str(path), *option).error.startswith(f"{option[0]}: expected in")


@pytest.mark.parametrize("path", ["no-such-file.jsonl", "."])
def test_a_file_that_cannot_be_read_is_one_sentence(forum, path):
    assert directive("request", "forum.post.hide", "--from", path).error.startswith(f"--from: {path}: ")


def test_a_process_ends_with_1_on_bad_input_and_with_0_on_good(post):
    arguments = ("directive", "request", "forum.post.hide", "--tenant", "alpha", "--payload")
    bad = manage(*arguments, "{}")
    assert (bad.returncode, bad.stdout) == (1, "")
    assert bad.stderr == "CommandError: payload.post_id: expected a value; it is missing\n"
    good = manage(*arguments, hide(post), "--format", "json")
    assert (good.returncode, good.stderr) == (0, "")
    assert json.loads(good.stdout)[0]["created"] is True


def test_lines_can_come_from_standard_input(forum):
    lines = [{"payload": {"post_id": str(post.pk)}} for post in forum.posts]
    arguments = ["request", "forum.post.hide", "--tenant", "alpha", "--from", "-"]
    done = subprocess.run(
        [sys.executable, "manage.py", "directive", *arguments],
        cwd=settings.BASE_DIR,
        env=environment(),
        input="\n".join(map(json.dumps, lines)) + "\noops\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout.startswith("3 requested, 0 known already, 1 refused; correlation id ")
    assert done.stderr.startswith("line 4: expected one JSON object; ")
    assert stored() == (3, 3)


def _bytes(line):
    return line if isinstance(line, bytes) else json.dumps(line).encode()
