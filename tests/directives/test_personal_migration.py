"""The migrations that move personal texts: of directives from before, without one long transaction."""

import json
from importlib import import_module
from types import SimpleNamespace

import pytest
from django.core.management import call_command
from django.db import connection

from directives.errors import KeyConflict
from directives.lifecycle.erasing import erase
from directives.models import Directive
from directives.requests import request
from fleetprompt.postgres.queries import fetch_all
from fleetprompt.tenants.context import in_tenant
from fleetprompt.tenants.provisioning import create_tenant
from signals.types import digest
from tests.support import TESTER, owner_cursor

MOVING = import_module("directives.migrations.0004_move_personal_texts")
EACH = 3_000
"""Directives of each kind."""
KINDS = {
    "a reason": ("forum.post.hide", '{"post_id": "x"}', "Gives number {n} away"),
    "no reason": ("forum.post.hide", '{"post_id": "x"}', ""),
    "a public text": ("forum.post.hide", '{"post_id": "x", "public_text": "No \\"{n}\\""}', "spam"),
    "the same reason": ("zoo.animal.work", '{"animal": "cat", "reason": "Purrs {n}"}', "Purrs {n}"),
    "another reason": ("zoo.animal.work", '{"animal": "cat", "reason": "Purrs {n}"}', "Meows"),
    "a post": (
        "forum.post.create",
        '{"thread_id": "x", "content": "Call\\n555 {n}", "client_request_id": "{n}"}',
        "",
    ),
    "a list": ("forum.post.create", '["Call"]', "odd"),
    "another content": ("zoo.animal.work", '{"animal": "cat", "content": "tins {n}"}', ""),
}
FILL = """
INSERT INTO directives_directive (id, name, status, payload, reason, idempotency_key, metadata, actor_type,
    actor_id, actor_label, subject_type, subject_id, ordering_key, correlation_id, causation_id, attempt,
    max_attempts, last_error)
SELECT gen_random_uuid(), %(name)s, 'succeeded', replace(%(payload)s, '{n}', n::text)::jsonb,
    replace(%(reason)s, '{n}', n::text), %(kind)s || ' ' || n, '{}', 'system', 'x', '', '', '', '',
    %(kind)s, '', 1, 5, ''
FROM generate_series(1, %(each)s) AS n
"""


@pytest.fixture
def past(database):
    """A tenant as it was when the reason was a column, with directives of that time."""
    create_tenant("past", name="Past", domain="past.localhost")
    call_command("migrate_schemas", "directives", "0003_lasting_columns", tenant="past", verbosity=0)
    fill(KINDS)


def fill(kinds, each=EACH):
    with in_tenant("past"), owner_cursor() as cursor:
        for kind, (name, payload, reason) in kinds.items():
            values = {"kind": kind, "name": name, "payload": payload, "reason": reason, "each": each}
            cursor.execute(FILL, values)


def migrate():
    call_command("migrate_schemas", tenant="past", verbosity=0)


def test_texts_of_before_move_and_are_read_as_before(past):
    columns = "SELECT idempotency_key, reason, payload::text FROM directives_directive"
    with in_tenant("past"):
        before = {key: (reason, json.loads(payload)) for key, reason, payload in fetch_all(columns)}
    migrate()
    with in_tenant("past"):
        found = {one.idempotency_key: (one.reason, one.payload) for one in Directive.objects.all()}
        stored = list(Directive.objects.values_list("payload", "personal"))
        [(transactions,)] = fetch_all("SELECT count(DISTINCT xmin::text) FROM directives_directive")
    assert found == before
    assert len(found) == len(KINDS) * EACH
    salts = []
    for payload, personal in stored:
        opened = {tuple(personal["reason"])} if "reason" in personal else set()
        for field, (salt, value) in personal.get("payload", {}).items():
            assert payload[field] == {"$personal": digest(salt, value)}
            opened.add((salt, value))
        salts += [salt for salt, _ in opened]
    # Where the reason stands twice, it is one value.
    assert len(salts) == len(set(salts)) == 8 * EACH
    texts = str([payload for payload, _ in stored])
    assert [text in texts for text in ("No ", "Purrs", "Call\\n", "tins")] == [False] * 3 + [True]
    # Rows of one transaction have one xmin.
    assert transactions >= len(KINDS) * EACH / MOVING.BATCH


def test_a_run_that_was_stopped_goes_on(past):
    texts = "SELECT id, personal::text FROM directives_directive"
    with in_tenant("past"):
        MOVING.move(None, SimpleNamespace(connection=connection))
        kept = dict(fetch_all(texts))
    # Requested meanwhile, by code of before.
    fill({"late": ("forum.post.create", '{"content": "Call 555 0100", "odd": [1e30]}', "Late")}, each=1)
    fill({"odd": ("forum.post.create", '{"content": 1e30}', "")}, each=1)
    migrate()
    with in_tenant("past"):
        found = dict(fetch_all(texts))
        late = Directive.objects.get(idempotency_key="late 1")
        assert (late.reason, late.payload["content"]) == ("Late", "Call 555 0100")
        assert "Call" not in str(Directive.objects.filter(pk=late.pk).values_list("payload").get())
    assert {pk: found[pk] for pk in kept} == kept


def test_what_was_erased_after_the_move_is_still_compared(past):
    migrate()
    key, thread = "a post 7", "01890000-0000-7000-8000-000000000000"
    payload = {"thread_id": thread, "content": "Call\n555 7", "author_id": "x", "client_request_id": "7"}
    more = {"thread_id": thread, "author_id": "x", "author_type": "agent"}
    with in_tenant("past"):
        [stored] = Directive.objects.filter(idempotency_key=key).values("pk", "payload")
        Directive.objects.filter(pk=stored["pk"]).update(payload=stored["payload"] | more)
        erase([stored["pk"]])
        assert not request("forum.post.create", payload, actor=TESTER, idempotency_key=key).created
        other = payload | {"content": "Call\n555 8"}
        with pytest.raises(KeyConflict):
            request("forum.post.create", other, actor=TESTER, idempotency_key=key)
