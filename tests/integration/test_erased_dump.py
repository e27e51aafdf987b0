"""A dump of a tenant whose personal texts were erased holds none of them, and its seals still verify."""

import subprocess
from pathlib import Path

from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from directives import operations, runner
from directives.lifecycle.erasing import erase
from directives.models import Directive
from directives.requests import request, request_batch, request_many
from fleetprompt.postgres import embedded
from forums.models import Post, Thread
from signals.models import Signal
from signals.types import Actor
from tests import recipes
from tests.support import TESTER, ask, database_url, run

PHRASES = 200
ADA = Actor("agent", "ada")


class Planter:
    """Gives phrases that are nowhere else, and remembers them."""

    def __init__(self) -> None:
        self.phrases: list[str] = []

    def __call__(self) -> str:
        self.phrases.append(f'quokka-{len(self.phrases):03}-"wombat" à 555')
        return self.phrases[-1]


def dump(schema: str) -> str:
    """Return what pg_dump says of a schema."""
    folder = embedded.programs() if connection.settings_dict.get("EMBEDDED") else ""
    program = str(Path(folder, "pg_dump")) if folder else "pg_dump"
    command = [program, "--schema", schema, "--dbname", database_url()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def plant(thread: Thread, text: Planter) -> None:
    """Have a phrase in every place that may hold a text of a person."""
    posts = [str(recipes.forums.post.make(thread=thread).pk) for _ in range(40)]
    hides = [
        ("forum.post.hide", {"post_id": pk, "public_text": text(), "reason": text()}, text())
        for pk in posts[:30]
    ]
    asked = [one.directive for one in request_many(hides, actor=TESTER)]
    for one in asked[:5]:
        operations.snooze(one.pk, timezone.now() + timezone.timedelta(hours=1), actor=TESTER, reason=text())
        operations.run_now(one.pk, actor=TESTER, reason=text())
        ask(
            "forum.post.hide",
            one.payload | {"reason": text()},
            actor=ADA,
            idempotency_key=one.idempotency_key,
        )
        operations.cancel(one.pk, actor=TESTER, reason=text())
        operations.rerun(one.pk, actor=TESTER, reason=text())
    for n in range(30):
        payload = {"content": text(), "author_id": "ada", "client_request_id": str(n)}
        request("forum.post.create", {"thread_id": str(thread.pk), **payload}, actor=ADA, reason=text())
    request_batch(
        "b", "forum.post.delete", [{"post_id": pk} for pk in posts[30:]], actor=ADA, reason=text()
    )
    runner.run_due()
    for one in asked[:10]:
        undone = operations.undo(one.pk, actor=TESTER, reason=text())
        run(undone.directive)
    for pk in posts[30:35]:
        # It fails, and the error quotes why the post was deleted.
        run(ask("forum.post.hide", {"post_id": pk}, reason=text()).directive)
    while len(text.phrases) < PHRASES:
        animal = f"cat {len(text.phrases)}"
        ask("zoo.animal.work", {"animal": animal, "note": "", "reason": text()}, reason=text())
    runner.run_due()


def test_a_dump_of_what_was_erased_holds_no_phrase(forum):
    text = Planter()
    plant(forum.thread, text)
    assert len(text.phrases) >= PHRASES
    assert Directive.objects.filter(status="failed", last_error__contains="quokka").count() == 5
    call_command("audit", "seal", tenant="alpha")
    before = dump("org_alpha")
    assert [phrase for phrase in text.phrases if not found(phrase, before)] == []
    erase(list(Directive.objects.values_list("pk", flat=True)))
    Signal.objects.all().erase()
    Post.objects.update(content="erased")
    after = dump("org_alpha")
    assert [phrase for phrase in text.phrases if found(phrase, after)] == []
    assert "quokka" not in after
    call_command("audit", "verify", tenant="alpha")


def found(phrase: str, dumped: str) -> bool:
    """Return whether a dump has a phrase, as a column of texts or of JSON writes it."""
    return phrase in dumped or phrase.replace('"', '\\\\"') in dumped
