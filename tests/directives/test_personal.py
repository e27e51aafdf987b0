"""Personal texts of directives: kept beside what is sealed, shared with signals, erased for good."""

from datetime import timedelta
from typing import Annotated

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.db.utils import IntegrityError
from django.test import override_settings
from django.utils import timezone
from model_bakery import baker
from pydantic import BaseModel

from directives import operations, registry, runner
from directives.errors import KeyConflict, Refused
from directives.executing import attempts
from directives.handlers import DirectivePayload, Handler
from directives.lifecycle import claims
from directives.lifecycle.erasing import erase
from directives.models import Directive
from directives.requesting import batches
from directives.requesting.dry_run import dry_run
from directives.requests import request_batch, request_many
from forums.models import Post
from signals.models import Signal
from signals.types import ERASED, Actor, Personal, digest, is_commitment, keyed_digest
from tests.recipes import forums
from tests.support import TESTER, ask, ask_animal, change, expire_lease, run, states

ADA, MIRA = Actor("agent", "ada"), Actor("agent", "mira")


def raw(directive: Directive) -> tuple[dict, dict | None]:
    """Return the payload as it is stored, and the column."""
    return Directive.objects.filter(pk=directive.pk).values_list("payload", "personal").get()


def raw_signals(directive: Directive) -> dict[str, tuple[dict, dict | None]]:
    """Return the same of its signals, by name."""
    told = Signal.objects.filter(causation_id=str(directive.pk)).values_list("name", "payload", "personal")
    return {name: (payload, personal) for name, payload, personal in told}


def hide(post: Post, reason: str = "spam", **options) -> Directive:
    payload = {"post_id": str(post.pk), **options.pop("payload", {})}
    return ask("forum.post.hide", payload, reason=reason, **options).directive


def reply(forum, text: str = "My number is 555 0100", key: str = "reply", **options) -> Directive:
    payload = {
        "thread_id": str(forum.thread.pk),
        "content": text,
        "author_id": "ada",
        "client_request_id": key,
    }
    return ask("forum.post.create", payload, **options).directive


def test_a_reason_stands_beside_the_payload_and_is_one_value_with_one_salt(forum):
    directive = hide(forum.posts[0], "Gives her address away")
    run(directive)
    [salt, text] = raw(directive)[1]["reason"]
    assert text == directive.reason == Directive.objects.get().reason == "Gives her address away"
    told = raw_signals(directive)
    for name in ("directive.requested", "forum.post.hidden"):
        payload, personal = told[name]
        assert personal == {"reason": [salt, text]}
        assert payload["reason"] == {"$personal": digest(salt, text)}
    assert Signal.objects.get(name="forum.post.hidden").payload["reason"] == text
    assert told["directive.succeeded"][1] is None


def test_a_move_emits_its_reason_with_the_salt(forum):
    other = forums.category.make()
    payload = {"thread_id": str(forum.thread.pk), "category_id": str(other.pk)}
    directive = ask("forum.thread.move", payload, reason="About her cat").directive
    run(directive)
    assert raw_signals(directive)["forum.thread.moved"][1] == raw(directive)[1]


def test_without_a_reason_nothing_is_personal(forum):
    directive = hide(forum.posts[0], "")
    run(directive)
    assert raw(directive)[1] == {}
    assert (directive.reason, Directive.objects.get().reason) == ("", "")
    told = raw_signals(directive)
    assert {name: personal for name, (_, personal) in told.items()} == dict.fromkeys(told)
    assert told["directive.requested"][0]["reason"] == told["forum.post.hidden"][0]["reason"] == ""


def test_a_reason_is_given_to_a_model_as_a_column_is(alpha):
    made = baker.make(Directive, reason="by hand", name="a.b", actor_type="system", idempotency_key="x")
    found = Directive.objects.get()
    assert made.reason == found.reason == "by hand"
    found.reason = ""
    assert found.personal == {}
    only = Directive.objects.only("name").get()
    assert only.reason == "by hand"


def test_rows_of_a_batch_share_no_salt(forum):
    items = [("forum.post.hide", {"post_id": str(post.pk), "public_text": "spam"}) for post in forum.posts]
    for one in request_many(items, actor=TESTER, reason="spam"):
        assert one.directive.payload["public_text"] == "spam"
    runner.run_due()
    rows = Directive.objects.values_list("personal", flat=True)
    salts = {salt for row in rows for salt, _ in (row["reason"], row["payload"]["public_text"])}
    assert len(salts) == 2 * len(forum.posts)
    told = Signal.objects.filter(name="forum.post.hidden").values_list("payload", flat=True)
    assert len({payload["reason"]["$personal"] for payload in told}) == len(forum.posts)


def test_marked_fields_are_replaced_by_commitments_and_read_back(forum):
    directive = reply(forum, payload_reason := "My number is 555 0100")
    payload, personal = raw(directive)
    assert is_commitment(payload["content"])
    [salt, text] = personal["payload"]["content"]
    assert (text, payload["content"]["$personal"]) == (payload_reason, digest(salt, text))
    assert directive.payload == Directive.objects.get().payload
    assert directive.payload["content"] == text
    assert "555" not in str([told for told, _ in raw_signals(directive).values()])
    run(directive)
    assert Post.objects.get(directive_id=directive.pk).content == text


def test_the_payloads_reason_shares_the_salt_if_it_is_the_directives(forum):
    first = hide(forum.posts[0], "", payload={"reason": "rude", "public_text": "Be kind"})
    second = hide(forum.posts[1], "aloud", payload={"reason": "rude"})
    assert (first.reason, second.reason) == ("rude", "aloud")
    _, personal = raw(first)
    assert personal["payload"]["reason"] == personal["reason"]
    assert personal["payload"]["public_text"][0] != personal["reason"][0]
    payload, personal = raw(second)
    assert personal["payload"]["reason"][0] != personal["reason"][0]
    assert is_commitment(payload["reason"])


class Inner(BaseModel):
    """A part of a payload."""

    text: Annotated[str, Personal] = ""


@pytest.mark.parametrize(
    "annotation", [list[Annotated[str, Personal]], Annotated[str, Personal] | None, Inner, dict[str, Inner]]
)
def test_a_mark_within_a_fields_type_is_refused(annotation):
    payload = type("P", (DirectivePayload,), {"__annotations__": {"deep": annotation}, "__doc__": "x"})
    members = {"name": "a.b", "label": "x", "Payload": payload, "execute": lambda *_: {}}
    with pytest.raises(ImproperlyConfigured, match=r"Nested: Payload\.deep: Personal"):
        registry.register(type("Nested", (Handler,), members))


def test_operations_batches_and_requests_anew_have_their_reasons_beside_them(forum):
    directive = hide(forum.posts[0], "first of all")
    until = timezone.now() + timedelta(hours=1)
    operations.snooze(directive.pk, until, actor=TESTER, reason="wait a bit")
    operations.run_now(directive.pk, actor=TESTER, reason="go on then")
    operations.cancel(directive.pk, actor=TESTER, reason="never mind")
    operations.rerun(directive.pk, actor=TESTER, reason="after all")
    hide(forum.posts[0], "second thoughts", actor=ADA)
    batch = {"post_id": str(forum.posts[1].pk)}
    request_batch("b", "forum.post.hide", [batch], actor=TESTER, reason="both of them")
    told = {signal.name: signal for signal in Signal.objects.all()}
    stored = dict(Signal.objects.values_list("name", "payload"))
    for name, reason in {
        "directive.snoozed": "wait a bit",
        "directive.run_requested": "go on then",
        "directive.canceled": "never mind",
        "directive.rerun_requested": "after all",
        "directive.requested_again": "second thoughts",
        "directive.batch_requested": "both of them",
    }.items():
        assert told[name].payload["reason"] == reason
        assert is_commitment(stored[name]["reason"])
    again = told["directive.requested_again"]
    assert again.payload["first_reason"] == "first of all"
    assert again.personal["first_reason"] == raw(directive)[1]["reason"]
    assert "second thoughts" not in again.dedupe_key


def test_nothing_that_is_sealed_tells_a_text_to_who_tries_texts(forum):
    """A digest of a text that can be guessed is the text, unless something secret is part of it."""
    request_batch("b", "forum.post.hide", [{"post_id": str(forum.posts[0].pk)}], actor=TESTER, reason="x")
    told = Signal.objects.get(name="directive.batch_requested")
    with override_settings(SECRET_KEY="another"), pytest.raises(Refused, match="other contents"):
        request_batch(
            "b", "forum.post.hide", [{"post_id": str(forum.posts[0].pk)}], actor=TESTER, reason="x"
        )
    with override_settings(SECRET_KEY="another", SECRET_KEY_FALLBACKS=[settings.SECRET_KEY]):
        known = {"post_id": str(forum.posts[0].pk)}
        assert request_batch("b", "forum.post.hide", [known], actor=TESTER, reason="x") is None
    assert told.payload["digest"]


def test_errors_of_failures_are_personal(forum):
    directive = ask_animal("refuse", reason="x")
    run(directive)
    payload, personal = raw_signals(directive)["directive.failed"]
    assert is_commitment(payload["error"])
    assert "DirectiveError" in personal["error"][1]
    retried = ask("zoo.animal.stumble", {"animal": "dog", "times": 1}).directive
    run(retried)
    assert is_commitment(raw_signals(retried)["directive.retry_scheduled"][0]["error"])


def test_the_database_lets_personal_texts_become_null_and_nothing_else(forum):
    directive = reply(forum, reason="x")
    change(directive, last_error="555 0100 is no text", last_error_at=timezone.now())
    for changed in ({}, {"reason": ["AAAAAAAAAAAAAAAAAAAAAA", "y"]}):
        with pytest.raises(IntegrityError, match="can only be erased"), transaction.atomic():
            change(directive, personal=changed)
    change(directive, personal=None)
    found = Directive.objects.get()
    assert (found.personal, found.last_error, found.reason) == (None, "", ERASED)
    assert found.payload["content"] == ERASED
    with pytest.raises(IntegrityError, match="can only be erased"), transaction.atomic():
        change(directive, personal={})


def test_erasing_takes_the_texts_out_of_directives_and_their_signals(forum):
    directive, other = reply(forum, reason="as asked"), hide(forum.posts[0], "stays")
    run(directive)
    # Its own signal, and that the post was created.
    assert erase([directive.pk]) == (1, 2)
    assert erase([directive.pk]) == (0, 0)
    assert raw(directive)[1] is None
    assert {personal for _, personal in raw_signals(directive).values()} == {None}
    assert (
        Signal.objects.get(name="directive.requested", causation_id=str(directive.pk)).payload["reason"]
        == ERASED
    )
    assert Directive.objects.get(pk=other.pk).reason == "stays"


def test_an_erased_directive_is_not_executed(forum):
    waiting, done = hide(forum.posts[0]), hide(forum.posts[1])
    run(done)
    erase([waiting.pk, done.pk])
    operations.rerun(done.pk, actor=TESTER, reason="again")
    for directive in (waiting, done):
        run(directive)
        directive.refresh_from_db()
        assert directive.status == "failed"
        assert directive.last_error == "DirectiveError: payload: its personal text was erased"
    assert Post.objects.get(pk=forum.posts[0].pk).status == "published"


@pytest.mark.parametrize("name", ["work", "refuse", "procrastinate"])
@pytest.mark.parametrize("is_quick", [False, True])
@pytest.mark.parametrize("number", [1, 2])
def test_a_worker_that_has_what_was_erased_meanwhile_leaves_nothing(alpha, name, number, is_quick):
    if is_quick:
        # Then they share a transaction.
        attempts.seconds_by_name[f"zoo.animal.{name}"] = 0.0
    asked = [ask_animal(name, animal, reason="secret") for animal in ("cat", "dog")[:number]]
    with claims.released_when_lost() as token:
        claimed = claims.claim(alpha, 10, token=token).directives
    erase([directive.pk for directive in claimed])
    list(attempts.execute(claimed, alpha))
    assert states(*asked) == ["running"] * number
    assert {personal for one in asked for _, personal in raw_signals(one).values()} == {None}
    for directive in asked:
        expire_lease(directive)
    runner.run_due()
    assert states(*asked) == ["failed"] * number


def test_an_erased_directive_is_undone_if_that_takes_no_text(forum):
    first, second = forum.posts[:2]
    hidden, lifted = hide(first), hide(second, payload={"public_text": "Be kind"})
    runner.run_due()
    lift = ask("forum.post.unhide", {"post_id": str(second.pk)}, reason="ham").directive
    run(lift)
    erase([hidden.pk, lifted.pk])
    operations.undo(hidden.pk, actor=TESTER, reason="no spam")
    with pytest.raises(Refused, match=r"takes a text of .* that was erased"):
        operations.undo(lift.pk, actor=TESTER, reason="spam")
    runner.run_due()
    assert Post.objects.get(pk=first.pk).status == "published"


def test_no_undo_carries_the_word_erased(forum):
    directive = hide(forum.posts[0], expires_at=timezone.now() + timedelta(days=1))
    run(directive)
    about = {"type": "forum.post", "id": str(forum.posts[0].pk)}
    pk = Directive.objects.get(pk=directive.pk).result["restriction"]
    payload = {"subject": about, "restriction_id": pk, "reason": "longer"}
    moved = ask("restriction.reschedule", payload).directive
    run(moved)
    erase([moved.pk])
    undo = operations.undo(moved.pk, actor=TESTER, reason="back").directive
    assert "reason" not in undo.payload
    assert ERASED not in str(undo.payload)


def test_after_erasure_one_key_is_still_one_request(forum):
    first = reply(forum)
    erase([first.pk])
    assert reply(forum).pk == first.pk
    assert reply(forum, reason="why not").pk == first.pk
    with pytest.raises(KeyConflict, match="another payload"):
        reply(forum, "My number is 555 0101")
    with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=[settings.SECRET_KEY]):
        assert reply(forum).pk == first.pk
    with override_settings(SECRET_KEY="new"), pytest.raises(KeyConflict):
        reply(forum)


def test_after_erasure_default_keys_compare_texts_too(forum):
    post = forum.posts[0]
    first = hide(post, payload={"public_text": "Be kind"})
    erase([first.pk])
    assert hide(post, payload={"public_text": "Be kind"}).pk == first.pk
    assert hide(post, payload={"public_text": "Be quiet"}).pk != first.pk
    assert hide(forum.posts[1], payload={"public_text": ERASED}).pk != hide(forum.posts[1]).pk


def test_what_was_erased_is_not_repeated_by_another_decision(forum):
    post = forum.posts[0]
    for reason in ("spam", ERASED):
        directive = hide(post, reason)
        run(directive)
        assert "restriction" in Directive.objects.get(pk=directive.pk).result
        erase([directive.pk])


def test_a_keyed_digest_tells_nothing_elsewhere():
    made = {
        keyed_digest(value, purpose=purpose, tenant=tenant)
        for value in ("a", {"a": "a"})
        for purpose in ("x", "y")
        for tenant in ("alpha", "beta")
    }
    assert len(made) == 8
    assert {len(one) for one in made} == {64}


def test_two_texts_of_one_handler_without_a_subject_have_keys_that_tell_nothing(alpha):
    payload_class = type(
        "P", (DirectivePayload,), {"__annotations__": {"note": Annotated[str, Personal]}, "__doc__": "x"}
    )
    members = {"name": "a.b", "label": "x", "Payload": payload_class, "execute": lambda *_: {}}
    handler = type("Noted", (Handler,), members)()
    keys = {handler.idempotency_key(payload_class(note=text), tenant="alpha", revision=0) for text in "aab"}
    assert len(keys) == 2
    with override_settings(SECRET_KEY="another"):
        assert handler.idempotency_key(payload_class(note="a"), tenant="alpha", revision=0) not in keys


def test_who_asked_and_why_is_told_as_erased(forum):
    first = hide(forum.posts[0], "Gives her address away", correlation_id="c")
    hide(forum.posts[1], "spam", correlation_id="c")
    hide(forum.posts[2], "", correlation_id="c")
    run(first)
    assert {one["reason"] for one in batches.origins("c")} == {"Gives her address away", "spam", ""}
    erase([first.pk])
    assert {one["reason"] for one in batches.origins("c")} == {ERASED, "spam", ""}
    ask("forum.post.delete", {"post_id": str(forum.posts[0].pk)}, actor=ADA, reason="")
    again = hide(forum.posts[0], "another one", actor=ADA, idempotency_key=first.idempotency_key)
    assert again.pk == first.pk
    told = Signal.objects.get(name="directive.requested_again")
    assert told.payload["first_reason"] == ERASED
    lock = ask("forum.thread.lock", {"thread_id": str(forum.thread.pk)}, reason="heated").directive
    run(lock)
    erase([lock.pk])
    end = ask("forum.thread.unarchive", {"thread_id": str(forum.thread.pk)}).directive
    run(end)
    end.refresh_from_db()
    assert end.last_error.endswith(": erased")


def test_a_dry_run_shows_texts(forum):
    tried = dry_run("forum.post.hide", {"post_id": str(forum.posts[0].pk)}, actor=TESTER, reason="Too loud")
    assert [signal.payload["reason"] for signal in tried.signals] == ["Too loud"]
