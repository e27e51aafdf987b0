"""Claims in one message: they have the effect of the careful claim, and leave exceptions to it."""

import threading
from contextlib import contextmanager
from uuid import uuid4

import pytest
from django.db import connection, transaction

from directives.lifecycle import claims, queries, transitions
from directives.models import Directive
from fleetprompt.tenants.context import active_tenant
from signals import bus
from signals.models import Signal
from tests.support import (
    ask_animal,
    crash,
    expire_lease,
    in_threads,
    meanwhile,
    run,
    signal_names,
    somebody_waits,
    states,
    wait_until,
)

GIVEN = {"id", "occurred_at", "recorded_at"}


def claim_at_once(limit=10, lease=60):
    return transitions.claim_at_once(
        limit, lease=lease, token=uuid4(), worker="here:1", tenant=active_tenant().slug
    )


@contextmanager
def claiming_meanwhile():
    """Let a claim wait for its lock during a block; give what it returned, after the block."""
    locked = threading.Event()
    with meanwhile(lambda: locked.wait(60) and claim_at_once()) as results, transaction.atomic():
        transitions.lock_claims()
        locked.set()
        wait_until(somebody_waits, "the claim waits")
        yield results


def started(directive):
    return Signal.objects.get(name="directive.started", causation_id=str(directive.pk))


def values(signal):
    return {
        field.name: getattr(signal, field.name) for field in Signal._meta.fields if field.name not in GIVEN
    }


def test_its_signals_say_what_a_fact_says(alpha):
    asked = [ask_animal("roam", animal, reason='it\'s "100 %"\\') for animal in ("cat", "ünicorn")]
    asked.append(ask_animal("work", "dog"))
    claimed = claim_at_once()
    assert [one.pk for one in claimed] == [one.pk for one in asked]
    for directive in claimed:
        fact = transitions.lifecycle_signal(
            directive, "directive.started", {"worker": "here:1"}, tenant="alpha"
        )
        assert values(started(directive)) == values(fact)
    ids = [started(directive).pk for directive in claimed]
    assert ids == sorted(ids)


def test_it_returns_the_directives_as_they_are_stored(alpha):
    ask_animal("roam")
    [claimed] = claim_at_once()
    stored = Directive.objects.get()
    assert {f.name: getattr(claimed, f.name) for f in Directive._meta.fields} == {
        f.name: getattr(stored, f.name) for f in Directive._meta.fields
    }
    assert (stored.status, stored.attempt) == ("running", 1)


def test_it_takes_no_more_than_its_limit(alpha):
    for number in range(3):
        ask_animal("roam", str(number))
    assert [len(claim_at_once(2)) for _ in range(3)] == [2, 1, 0]


def test_while_a_lease_has_expired_it_takes_nothing(alpha):
    stalled, due = ask_animal("work"), ask_animal("roam")
    crash(stalled)
    assert claim_at_once() is None
    due.refresh_from_db()
    assert (due.status, signal_names(due)) == ("requested", ["directive.requested"])
    claim = claims.claim(active_tenant(), 10, token=uuid4())
    assert {one.pk for one in claim.directives} == {stalled.pk, due.pk}


def test_a_lease_is_whole_however_long_the_claim_waited(alpha):
    directive = ask_animal("roam")
    with claiming_meanwhile(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(1.5), clock_timestamp()")
        [(_, released)] = cursor.fetchall()
    directive.refresh_from_db()
    assert (directive.lease_expires_at - released).total_seconds() >= 60


def test_a_lease_that_expires_while_a_claim_waits_is_seen(alpha):
    stalled, due = ask_animal("work"), ask_animal("roam")
    [claimed] = transitions.claim(1, lease=3600, only=stalled.pk, token=uuid4())
    with claiming_meanwhile() as results:
        in_threads(lambda: expire_lease(claimed))
    assert results == [None]
    due.refresh_from_db()
    assert due.status == "requested"


def test_a_signal_that_is_there_already_makes_it_step_aside(alpha, caplog):
    directive = ask_animal("roam")
    directive.attempt = 1
    bus.record(
        [
            transitions.lifecycle_signal(
                directive, "directive.started", {"worker": "there:2"}, tenant="alpha"
            )
        ]
    )
    with caplog.at_level("INFO", "directives.lifecycle.claims"):
        claim = claims.claim(active_tenant(), 1, token=uuid4())
    assert [one.pk for one in claim.directives] == [directive.pk]
    assert "carefully" in caplog.text
    assert started(directive).payload["worker"] == "there:2"


def test_inside_a_transaction_it_is_refused(alpha):
    ask_animal("roam")
    with transaction.atomic(), pytest.raises(RuntimeError, match="durable"):
        claims.claim(active_tenant(), 1, token=uuid4())
    assert Directive.objects.get().status == "requested"


def test_what_is_claimed_with_a_token_is_released_by_it_and_nothing_else(alpha):
    mine, others = uuid4(), uuid4()
    tenant = active_tenant()
    first, second, third, fourth = [ask_animal("work", str(number)) for number in range(4)]
    run(fourth)
    for directive, token in ((first, mine), (second, others)):
        assert claims.claim(tenant, 1, only=directive.id, token=token).directives
    crash(third)
    # By the slow way, which takes stalled ones over.
    assert claims.claim(tenant, 1, only=third.id, token=mine).directives
    assert transitions.release(mine) == 2
    assert transitions.release(uuid4()) == 0
    assert set(queries.stalled()) == {first, third}
    assert states(first, second, third, fourth) == ["running", "running", "running", "succeeded"]
    # They come back at once, and the one that has not begun is not charged.
    again = uuid4()
    assert {one.pk for one in claims.claim(tenant, 9, token=again).directives} == {first.pk, third.pk}
    first.refresh_from_db()
    assert (first.attempt, first.max_attempts, first.claim_token) == (2, 6, again)
