"""Requests of one directive: rows, signals, wake-ups and refusals."""

from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from directives.errors import InvalidPayload, Refused, UnknownDirective
from directives.models import Directive
from directives.requests import request, request_many
from fleetprompt.tenants.context import NoActiveTenant, in_tenant
from fleetprompt.tenants.models import Tenant
from signals.models import Signal
from signals.types import Actor
from tests.support import TESTER, ask, messages, run, signal_names


class AnyErrorError(Exception):
    """Something that happens to the caller after it requested."""


def test_a_request_is_stored_with_everything_that_was_said(forum):
    post = forum.posts[0]
    directive, created = ask(
        "forum.post.hide",
        {"post_id": str(post.pk).upper()},
        actor=Actor("agent", "sweeper", "The sweeper"),
        reason="spam",
        correlation_id="c-1",
        causation_id="x-1",
        metadata={"page": 3},
    )
    assert created
    stored = Directive.objects.get(pk=directive.pk)
    assert stored.payload == {"post_id": str(post.pk)}, "in its normalised form"
    assert (stored.name, stored.status, stored.attempt) == ("forum.post.hide", "requested", 0)
    assert stored.actor == Actor("agent", "sweeper", "The sweeper")
    assert (stored.subject_type, stored.subject_id) == ("forum.post", str(post.pk))
    assert (stored.reason, stored.metadata) == ("spam", {"page": 3})
    assert (stored.correlation_id, stored.causation_id) == ("c-1", "x-1")
    assert stored.max_attempts == 5
    assert stored.lease_expires_at is stored.started_at is stored.completed_at is None


def test_a_request_says_so_in_a_signal_and_wakes_a_worker(forum):
    directive = ask("forum.post.hide", {"post_id": str(forum.posts[0].pk)}, reason="spam").directive
    signal = Signal.objects.get(causation_id=str(directive.id))
    assert signal.name == "directive.requested"
    assert signal.dedupe_key == f"directive.requested:alpha:{directive.id}:0"
    assert signal.payload["reason"] == "spam"
    assert (signal.actor, signal.subject) == (TESTER, forum.posts[0].subject)
    assert signal.correlation_id == directive.correlation_id != ""
    assert messages() == 1


def test_the_payloads_reason_is_the_directives_when_it_has_none(forum):
    payload = {"post_id": str(forum.posts[0].pk), "reason": "from the payload"}
    assert ask("forum.post.hide", payload).directive.reason == "from the payload"
    payload = {"post_id": str(forum.posts[1].pk), "reason": "from the payload"}
    assert ask("forum.post.hide", payload, reason="said aloud").directive.reason == "said aloud"


@pytest.mark.parametrize(
    ("name", "near"),
    [("forum.thread.lok", "forum.thread.lock"), ("forum.posts.hide", "forum.post.hide")],
)
def test_an_unknown_name_is_refused_with_the_near_ones(alpha, name, near):
    with pytest.raises(UnknownDirective, match=near):
        ask(name, {})


@pytest.mark.parametrize("name", ["", "xyzzy", "x" * 5000, None, 7, []])
def test_a_name_like_no_other_is_refused_with_a_hint_where_to_look(alpha, name):
    with pytest.raises(UnknownDirective, match="directive types") as caught:
        ask(name, {})
    assert len(str(caught.value)) < 300
    assert not Directive.objects.exists()


def test_nothing_is_requested_outside_a_tenant(database):
    with pytest.raises(NoActiveTenant, match="in_tenant"):
        ask("zoo.animal.work", {"animal": "cat"})
    assert messages() == 0


def test_a_suspended_tenant_takes_no_directives(database):
    Tenant.objects.filter(slug="alpha").update(status="suspended")
    try:
        with in_tenant("alpha"):
            with pytest.raises(Refused, match="alpha is suspended"):
                ask("zoo.animal.work", {"animal": "cat"})
            assert not Directive.objects.exists()
    finally:
        Tenant.objects.filter(slug="alpha").update(status="active")


def test_the_actor_must_be_one(alpha):
    with pytest.raises(InvalidPayload, match="actor: expected an Actor"):
        request("zoo.animal.work", {"animal": "cat"}, actor="tester")


def test_a_directive_for_later_waits_for_its_time(alpha):
    at = timezone.now() + timedelta(hours=1)
    directive = ask("zoo.animal.work", {"animal": "cat"}, scheduled_at=at).directive
    assert (directive.scheduled_at, directive.queued_at) == (at, at)
    assert run(directive).kind == "snoozed"
    assert signal_names(directive) == ["directive.requested"]


def test_a_time_in_the_past_means_now(alpha):
    past = timezone.now() - timedelta(days=1)
    directive = ask("zoo.animal.work", {"animal": "cat"}, scheduled_at=past).directive
    assert directive.scheduled_at > past + timedelta(hours=23)
    assert run(directive).kind == "succeeded"


def test_a_wake_up_for_later_is_invisible_to_workers_until_then(alpha):
    at = timezone.now() + timedelta(hours=1)
    ask("zoo.animal.work", {"animal": "cat"}, scheduled_at=at)
    with connection.cursor() as cursor:
        cursor.execute("SELECT lock FROM public.django_q_ormq")
        assert cursor.fetchall() == [(at,)]


@pytest.mark.parametrize("at", ["2030-01-01", 5, timezone.now().replace(tzinfo=None)])
def test_a_time_without_a_time_zone_is_refused(alpha, at):
    with pytest.raises(Refused, match="scheduled_at: expected a time with a time zone"):
        ask("zoo.animal.work", {"animal": "cat"}, scheduled_at=at)


def test_a_caller_that_rolls_back_leaves_nothing_not_even_a_wake_up(alpha):
    def fail_after_requesting():
        with transaction.atomic():
            ask("zoo.animal.work", {"animal": "cat"})
            request_many([("zoo.animal.work", {"animal": "dog"})], actor=TESTER)
            assert (Directive.objects.count(), messages()) == (2, 2)
            raise AnyErrorError

    with pytest.raises(AnyErrorError):
        fail_after_requesting()
    assert not Directive.objects.exists()
    assert not Signal.objects.exists()
    assert messages() == 0
