"""Whom signals about posts are about: their members, whoever emits them."""

from datetime import timedelta
from uuid import uuid4

from django.utils import timezone

from directives import operations
from directives.models import Directive, Restriction
from directives.requests import request, request_batch
from directives.runner import run_due
from forums import content
from forums.models import Member, Post
from signals.models import Signal
from signals.types import Actor
from tests.support import TESTER, ask, crash, make_due, written_by

MIRA, ADA = Actor("agent", "mira"), Actor("agent", "ada")
TOLD = {
    "directive.requested", "directive.requested_again", "directive.started", "directive.succeeded",
    "directive.failed", "directive.canceled", "directive.snoozed", "directive.run_requested",
    "directive.rerun_requested", "directive.recovered", "forum.post.created", "forum.post.hidden",
    "forum.post.unhidden", "forum.post.deleted", "forum.post.restored", "restriction.ended",
    "restriction.rescheduled",
}  # fmt: skip
"""The names of the signals about posts."""


def do(name, post, actor=MIRA, **options):
    directive = request(name, {"post_id": str(post.pk)}, actor=actor, reason="why", **options).directive
    run_due()
    directive.refresh_from_db()
    return directive


def change_restriction(name, restriction, **more):
    about = {"type": restriction.subject_type, "id": restriction.subject_id}
    payload = {"subject": about, "restriction_id": str(restriction.pk), **more}
    request(name, payload, actor=MIRA, reason="why")
    run_due()


def test_every_signal_about_a_post_is_about_its_member(forum):
    first, second, third = forum.posts
    for post in forum.posts:
        written_by(f"author of {post.pk}", post)
    author, _ = Member.objects.get_or_create(author_type="human", author_id="imported")
    new = [Post(thread=forum.thread, content="One", author_id="imported", member=author)]
    content.store_new_posts(new, actor=TESTER)
    text = {"content": "Two", "author_id": "bot", "client_request_id": "1"}
    ask("forum.post.create", {"thread_id": str(forum.thread.pk), **text})

    for actor in (MIRA, ADA):
        ask("forum.post.hide", {"post_id": str(first.pk)}, actor=actor)
    run_due()
    do("forum.post.unhide", first)
    do("forum.post.delete", first)
    do("forum.post.hide", first)
    do("forum.post.restore", first)
    until = timezone.now() + timedelta(hours=1)
    do("forum.post.hide", second, expires_at=until)
    [restriction] = Restriction.objects.filter(ended_at=None, subject_id=str(second.pk))
    change_restriction("restriction.reschedule", restriction, until=(until + timedelta(1)).isoformat())
    [timer] = Directive.objects.filter(name="restriction.end", scheduled_at__gt=until)
    make_due(timer)
    run_due()
    twice = do("forum.post.hide", second, ADA)
    operations.undo(twice.pk, actor=ADA, reason="why")
    run_due()
    batch = str(uuid4())
    payloads = [{"post_id": str(post.pk)} for post in (second, third)]
    request_batch(batch, "forum.post.hide", payloads, actor=MIRA, reason="why")
    [one, other] = Directive.objects.filter(correlation_id=batch)
    operations.snooze(one.pk, until, actor=MIRA, reason="why")
    operations.run_now(one.pk, actor=MIRA, reason="why")
    operations.cancel(other.pk, actor=MIRA, reason="why")
    operations.rerun(other.pk, actor=MIRA, reason="why")
    crash(other)
    run_due()

    members = {str(pk): member for pk, member in Post.objects.values_list("pk", "member_id")}
    assert author.pk in members.values()
    signals = Signal.objects.filter(subject_type="forum.post")
    assert set(signals.values_list("name", flat=True)) == TOLD
    assert not [str(one) for one in signals if one.member_id != members[one.subject_id]]
    assert set(Signal.objects.exclude(subject_type="forum.post").values_list("member_id", flat=True)) == {
        None
    }
