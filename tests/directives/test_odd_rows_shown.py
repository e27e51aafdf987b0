"""Rows that no code of ours writes are shown as they are, by every page and command; none breaks them."""

import json
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection

from fleetprompt.tenants.context import in_tenant
from tests.admin import client_of
from tests.recipes.signals import signal
from tests.support import ask, make_forum, run, thinned

DIRECTIVES = {
    "payload null": "payload = 'null'",
    "payload list": "payload = '[1, \"x\"]'",
    "payload text": "payload = '\"x\"'",
    "metadata null": "metadata = 'null'",
    "metadata list": "metadata = '[1]'",
    "metadata text": "metadata = '\"x\"'",
    "lost number": """metadata = '{"lost_signals": 5}'""",
    "lost text": """metadata = '{"lost_signals": "xyz"}'""",
    "lost object": """metadata = '{"lost_signals": {"a": 1}}'""",
    "lost list": """metadata = '{"lost_signals": [1, null, {"a": [1]}]}'""",
    "result list": "result = '[1]'",
    "result text": "result = '\"x\"'",
    "result number": "result = '5'",
    "revision object": """result = '{"revision": {"a": 1}, "changed": []}'""",
    "revision yes": """result = '{"revision": true}'""",
    "operations list": "operations = '[1]'",
    "subject": "subject_type = 'No Dots', subject_id = E'a\\nb'",
    "subject without id": "subject_id = ''",
    "actor": "actor_id = E'a\\nb', actor_label = E'x\\n<b>y'",
    "correlation": "correlation_id = E'a\\nb'",
    "correlation as path": "correlation_id = 'a/b/../?c#'",
    "causation": "causation_id = E'a\\nb<b>'",
    "name": "name = E'odd\\nname'",
    "never completed": "completed_at = NULL",
    "completed at the end": "completed_at = '9999-12-31 23:59:59Z'",
    "started at the beginning": "started_at = '0001-01-01 00:00:00Z'",
}
SIGNALS = {
    "payload list": {"payload": ["x", {"items": 1}]},
    "payload text": {"payload": "x"},
    "attempt": {"payload": {"attempt": ["1"], "a\nb": "c"}},
    "metadata": {"metadata": ["x"]},
    "actor": {"actor_id": "a\nb", "actor_label": "x\n<b>y"},
    "name": {"name": "odd\x1b[31m\nname"},
    "correlation": {"correlation_id": "a\n/../b"},
}
PERSONAL = [
    "5",
    '"reason"',
    '["reason"]',
    '{"reason": 5}',
    '{"reason": ["x"], "payload": 5}',
    '{"reason": null, "payload": {"reason": "x", "public_text": [1, 2, 3]}}',
    '{"reason": ["AAAAAAAAAAAAAAAAAAAAAA", {"a": 1}], "payload": ["reason"]}',
]
BATCHES = {
    "list": ["x"],
    "text": "x",
    "empty": {},
    "odd": {"name": ["x"], "known": "some", "known_directives": ["x", 5, None], "refused": []},
    "no list": {"name": "forum.post.hide", "known": 2, "known_directives": 7},
}


@pytest.fixture
def root(database):
    return client_of("root", superuser=True)


@pytest.fixture
def hidden(database):
    """A directive that hid a post, and that post."""
    with in_tenant("alpha"):
        post = make_forum(1).posts[0]
        directive = ask("forum.post.hide", {"post_id": str(post.pk)}, correlation_id="corr").directive
        run(directive)
    return directive, post


def check_pages(root, directive, post):
    base = f"directives/directive/{directive.pk}"
    for path in (
        f"{base}/change/",
        f"{base}/live/",
        f"{base}/undo/",
        f"directives/directive/operate/rerun/?id={directive.pk}",
        f"directives/directive/operate/undo/?id={directive.pk}",
        "directives/directive/operate/undo/?batch=corr",
        f"directives/directive/request/forum.post.unhide/?subjects={post.pk}",
        "directives/directive/batch/corr/",
        "directives/directive/",
        "signals/signal/",
        f"forums/post/{post.pk}/change/",
        f"forums/post/{post.pk}/history/",
        f"forums/thread/{post.thread_id}/history/",
        "",
    ):
        assert root.get(f"/admin/{path}", follow=True).status_code in (200, 404), path


def shown_by(*arguments):
    out = StringIO()
    call_command("directive", *arguments, tenant="alpha", stdout=out)
    return out.getvalue()


def check_commands(directive):
    for arguments in (["list"], ["show", str(directive.pk)]):
        assert shown_by(*arguments)
        assert json.loads(shown_by(*arguments, "--format", "json"))


@pytest.mark.parametrize("case", thinned(DIRECTIVES, every=4))
def test_a_directive_written_by_hand(root, hidden, case):
    directive, _ = hidden
    with in_tenant("alpha"), connection.cursor() as cursor:
        cursor.execute(f"UPDATE directives_directive SET {DIRECTIVES[case]} WHERE id = %s", [directive.pk])
    check_pages(root, *hidden)
    check_commands(directive)


@pytest.mark.parametrize("personal", PERSONAL)
def test_personal_texts_written_by_hand(root, hidden, personal):
    directive, post = hidden
    with in_tenant("alpha"), connection.cursor() as cursor:
        # A trigger refuses to change them.
        cursor.execute(
            "WITH gone AS (DELETE FROM directives_directive AS row WHERE id = %s RETURNING row)"
            " INSERT INTO directives_directive SELECT (jsonb_populate_record(row,"
            " jsonb_build_object('personal', %s::jsonb))).* FROM gone",
            [directive.pk, personal],
        )
        signal.make(
            causation_id=str(directive.pk),
            subject_type="forum.post",
            subject_id=str(post.pk),
            payload={"reason": {"$personal": "x"}},
            personal=json.loads(personal),
        )
    check_pages(root, *hidden)
    check_commands(directive)
    assert root.get("/admin/signals/signal/?q=reason").status_code == 200
    with in_tenant("alpha"):
        ask(
            "forum.post.hide",
            {"post_id": str(post.pk)},
            reason="x",
            idempotency_key=directive.idempotency_key,
        )


@pytest.mark.parametrize("case", thinned(SIGNALS, every=3))
def test_a_signal_written_by_hand(root, hidden, case):
    directive, post = hidden
    with in_tenant("alpha"):
        of_it = {
            "causation_id": str(directive.pk),
            "subject_type": "forum.post",
            "subject_id": str(post.pk),
        }
        made = signal.make(**{**of_it, "correlation_id": "corr", **SIGNALS[case]})
    check_pages(root, *hidden)
    assert root.text(f"signals/signal/{made.pk}/change/")
    check_commands(directive)
    for text in (shown_by("show", str(directive.pk)), shown_by("list")):
        assert "\x1b" not in text


@pytest.mark.parametrize("case", BATCHES)
def test_a_batch_told_of_by_hand(root, hidden, case):
    with in_tenant("alpha"):
        key = "directive.batch_requested:alpha:corr"
        signal.make(name="directive.batch_requested", dedupe_key=key, payload=BATCHES[case])
    assert root.text("directives/directive/batch/corr/")


def test_lists_stay_lists_in_json(hidden):
    directive, _ = hidden
    with in_tenant("alpha"), connection.cursor() as cursor:
        cursor.execute(
            "UPDATE directives_directive SET result = '[1, 2.5]', metadata = '2.5' WHERE id = %s",
            [directive.pk],
        )
    shown = json.loads(shown_by("show", str(directive.pk), "--format", "json"))["directive"]
    assert shown["result"] == [1, 2.5]
    assert shown["metadata"] == 2.5
