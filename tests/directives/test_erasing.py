"""Erasing beside everything else: errors that quote, ends by the timer, requests at the same moment."""

import threading
from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from directives import operations, registry, runner
from directives.errors import DirectiveError
from directives.executing import recording
from directives.executing.retry import RetryPolicy
from directives.handlers import Context
from directives.lifecycle import failures
from directives.lifecycle.erasing import erase
from directives.models import Directive
from forums.models import Post
from signals.models import Signal
from signals.types import ERASED, Actor
from tests.support import (
    ask,
    ask_animal,
    claim,
    in_threads,
    make_due,
    run,
    somebody_waits,
    wait_until,
)

ADA = Actor("agent", "ada")
SECRET = "Lives at 12 Elm Road"


def about(post: Post, verb: str, reason: str = "", *, text: str | None = None, **options) -> Directive:
    payload = {"post_id": str(post.pk)} | ({"public_text": text} if text else {})
    return ask(f"forum.post.{verb}", payload, reason=reason, **options).directive


def in_an_hour():
    return timezone.now() + timedelta(hours=1)


def texts_of(directive: Directive) -> str:
    """Return what a directive and its signals say, as whoever reads them gets it."""
    directive.refresh_from_db()
    told = Signal.objects.filter(causation_id=str(directive.pk))
    return f"{directive.reason} {directive.last_error} {[signal.payload for signal in told]}"


def test_an_error_that_quotes_a_reason_is_erased_with_it(forum):
    deleted = about(forum.posts[0], "delete", SECRET)
    run(deleted)
    refused, other = about(forum.posts[0], "unhide"), about(forum.posts[1], "unhide")
    runner.run_due()
    assert texts_of(refused).count(SECRET) == 2
    erase([deleted.pk])
    assert SECRET not in texts_of(refused)
    assert "there is nothing to lift" in texts_of(other)


def test_so_is_one_of_an_attempt_before_the_last(forum):
    deleted, refused = about(forum.posts[0], "delete", SECRET), about(forum.posts[0], "unhide")
    runner.run_due()
    run(about(forum.posts[0], "restore"))
    operations.rerun(refused.pk, actor=ADA, reason="now")
    run(refused)
    assert texts_of(refused).count(SECRET) == 1
    erase([deleted.pk])
    assert SECRET not in texts_of(refused)


def test_an_error_that_quotes_a_reason_comes_after_its_erasure(forum, alpha):
    deleted = about(forum.posts[0], "delete", SECRET)
    run(deleted)
    refused = claim(about(forum.posts[0], "unhide"))
    handler = registry.get(refused.name)
    with pytest.raises(DirectiveError, match=SECRET) as raised:
        handler.execute(Context(refused, "alpha"), handler.parse(refused.payload))
    erase([deleted.pk])
    recording.record_failure(refused, RetryPolicy(), alpha, raised.value)
    assert Directive.objects.get(pk=refused.pk).status == "failed"
    assert SECRET not in texts_of(refused)


def test_a_row_that_is_set_aside_after_its_erasure_quotes_nothing(alpha):
    directive = claim(ask_animal("work", reason=SECRET))
    erase([directive.pk])
    failures.set_aside(directive.pk, alpha, ValueError(SECRET), attempt=directive.attempt)
    assert Directive.objects.get(pk=directive.pk).status == "failed"
    assert SECRET not in texts_of(directive)


def test_erasing_waits_for_a_request_that_repeats_the_reason(forum):
    first = about(forum.posts[0], "hide", SECRET)
    asked = threading.Event()

    def ask_again():
        with transaction.atomic():
            about(forum.posts[0], "hide", "spam", actor=ADA)
            asked.set()
            wait_until(somebody_waits, "the erasure waits")

    def erase_meanwhile():
        asked.wait(20)
        erase([first.pk])

    assert in_threads(ask_again, erase_meanwhile) == [None, None]
    assert Signal.objects.filter(name="directive.requested_again").exists()
    assert SECRET not in texts_of(first)


def test_a_request_that_repeats_the_reason_comes_after_its_erasure(forum):
    first = about(forum.posts[0], "hide", SECRET)
    erasing = threading.Event()

    def erase_slowly():
        with transaction.atomic():
            erase([first.pk])
            erasing.set()
            wait_until(somebody_waits, "the request waits")

    def ask_again():
        erasing.wait(20)
        about(forum.posts[0], "hide", "spam", actor=ADA)

    assert in_threads(erase_slowly, ask_again) == [None, None]
    assert Signal.objects.get(name="directive.requested_again").payload["first_reason"] == ERASED


def test_an_undo_that_repeats_a_text_comes_after_its_erasure(forum):
    hidden, lift = about(forum.posts[0], "hide", text=SECRET), about(forum.posts[0], "unhide")
    runner.run_due()
    erasing = threading.Event()

    def erase_slowly():
        with transaction.atomic():
            erase([hidden.pk])
            erasing.set()
            wait_until(somebody_waits, "the undo waits")

    def undo():
        erasing.wait(20)
        operations.undo(lift.pk, actor=ADA, reason="back")

    erased, refused = in_threads(erase_slowly, undo)
    assert erased is None
    assert "takes a text of" in str(refused)


def test_a_worker_claims_what_is_requested_again_at_that_moment(forum):
    first = about(forum.posts[0], "hide", SECRET)
    with transaction.atomic():
        about(forum.posts[0], "hide", "spam", actor=ADA)
        [outcomes] = in_threads(lambda: list(runner.run_due()))
    assert [one.directive_id for one in outcomes] == [first.pk]


def test_erasing_keeps_the_ends_of_restrictions(forum):
    hidden = about(forum.posts[0], "hide", SECRET, expires_at=in_an_hour())
    run(hidden)
    end = Directive.objects.get(name="restriction.end")
    operations.snooze(end.pk, in_an_hour(), actor=ADA, reason=SECRET)
    erase([hidden.pk, end.pk])
    assert SECRET not in texts_of(end)
    make_due(end)
    runner.run_due()
    assert Post.objects.get(pk=forum.posts[0].pk).status == "published"


def test_an_end_that_was_erased_and_superseded_fails(forum):
    run(about(forum.posts[0], "hide", text=SECRET))
    lift = about(forum.posts[0], "unhide", expires_at=in_an_hour())
    run(lift)
    end = Directive.objects.get(causation_id=str(lift.pk))
    erase([end.pk])
    run(about(forum.posts[0], "delete"))
    make_due(end)
    runner.run_due()
    end.refresh_from_db()
    assert (end.status, end.last_error) == (
        "failed",
        "DirectiveError: payload: its personal text was erased",
    )


def test_a_lift_for_a_time_fails_if_its_end_takes_an_erased_text(forum):
    hidden = about(forum.posts[0], "hide", text=SECRET)
    run(hidden)
    erase([hidden.pk])
    lift = about(forum.posts[0], "unhide", expires_at=in_an_hour())
    run(lift)
    lift.refresh_from_db()
    assert (lift.status, Post.objects.get(pk=forum.posts[0].pk).status) == ("failed", "hidden")
    assert "expires_at: what ends it cannot be requested: id: it takes a text" in lift.last_error
