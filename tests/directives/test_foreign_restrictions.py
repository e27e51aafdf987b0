"""Restrictions of another app's model whose primary key is an integer: all that posts and threads can."""

from datetime import timedelta

import pytest
from django.utils import timezone

from directives import operations
from directives.models import Directive, Restriction
from directives.requests import request_many
from directives.runner import run_due
from fleetprompt.tenants.context import in_tenant
from signals.models import Signal
from signals.types import Actor
from tests.admin import client_of
from tests.library.models import Card
from tests.support import ask, make_due, run

MIRA, ADA = Actor("agent", "mira"), Actor("agent", "ada", "Ada")
BIG = 2**40


@pytest.fixture
def card(alpha):
    return Card.objects.create(pk=BIG)


def do(name, card, actor=MIRA, **options):
    directive = ask(name, {"card_id": card.pk}, actor=actor, reason="late again", **options).directive
    run(directive)
    assert directive.status == "succeeded", directive.last_error
    return directive


def check(card, status, revision):
    card.refresh_from_db()
    assert (card.status, card.revision) == (status, revision)


def undo(directive):
    undoing = operations.undo(directive.pk, actor=ADA, reason="a mistake").directive
    run(undoing)
    assert undoing.status == "succeeded", undoing.last_error
    return undoing


def test_it_is_restricted_and_its_id_is_a_text(card):
    blocked = do("library.card.block", card)
    [restriction] = Restriction.objects.all()
    assert (restriction.subject_type, restriction.subject_id) == ("library.card", str(BIG))
    assert blocked.result["restriction"] == str(restriction.pk)
    assert blocked.result["card_id"] == str(BIG)
    assert Signal.objects.get(name="library.card.blocked").subject_id == str(BIG)
    check(card, "blocked", 2)


def test_what_others_set_stays_and_a_lift_ends_all_before_it(card):
    mine, hers = do("library.card.block", card), do("library.card.block", card, ADA)
    assert undo(mine).result["still_restricted_by"] == [str(hers.pk)]
    check(card, "blocked", 4)
    do("library.card.unblock", card)
    check(card, "open", 5)


def test_undoing_a_lift_restricts_again(card):
    do("library.card.block", card)
    assert undo(do("library.card.unblock", card)).name == "library.card.block"
    check(card, "blocked", 4)


def test_it_ends_by_itself(card):
    do("library.card.block", card, expires_at=timezone.now() + timedelta(hours=1))
    timer = Directive.objects.get(name="restriction.end")
    make_due(timer)
    run(timer)
    check(card, "open", 3)


def test_a_restriction_is_rescheduled_and_ended_by_its_id(card):
    do("library.card.block", card)
    about = {"type": "library.card", "id": str(BIG)}
    payload = {"subject": about, "restriction_id": str(Restriction.objects.get().pk)}
    until = (timezone.now() + timedelta(hours=1)).isoformat()
    run(ask("restriction.reschedule", payload | {"until": until}).directive)
    assert Restriction.objects.get().until.isoformat() == until
    run(ask("restriction.end", payload).directive)
    check(card, "open", 4)


def test_a_batch_is_executed_and_undone_together(alpha):
    # The order of numbers is not that of their texts.
    cards = [Card.objects.create(pk=pk) for pk in (9, 10, 100, 2)]
    asked = request_many(
        [("library.card.block", {"card_id": card.pk}) for card in cards], actor=MIRA, reason="late"
    )
    run_due()
    assert set(Card.objects.values_list("status", "revision")) == {("blocked", 2)}
    do("library.card.unblock", cards[0], ADA)
    done = operations.undo_batch(asked[0].directive.correlation_id, actor=ADA, reason="a mistake")
    run_due()
    assert (len(done.requested), list(done.refused)) == (3, [asked[0].directive.pk])
    assert set(Card.objects.values_list("status", "revision")) == {("open", 3)}


@pytest.mark.parametrize("pk", [-(2**50), 0, BIG + 1])
def test_a_number_of_none_is_named(card, pk):
    directive = ask("library.card.block", {"card_id": pk}).directive
    run(directive)
    assert directive.last_error == f"DirectiveError: library.card: there is no {pk} in this tenant"


def test_its_page_says_who_and_until_when_and_ends_it(database):
    with in_tenant("alpha"):
        card = Card.objects.create(pk=BIG)
        do("library.card.block", card, ADA, expires_at=timezone.now() + timedelta(days=400))
        restriction = Restriction.objects.get()
    mira = client_of("mira", superuser=True)
    address = f"/admin/library/card/{BIG}/change/"
    page = mira.get(address).content.decode()
    for text in ("Blocked", "by Ada", "late again", "Block card", f"restriction={restriction.pk}"):
        assert text in page
    ended = mira.post(
        "/admin/directives/directive/request/restriction.end/",
        {
            "restriction": str(restriction.pk),
            "reason": "paid",
            "when": "now",
            "confirm": "request",
            "batch": "01900000-0000-7000-8000-000000000001",
        },
    )
    assert ended.status_code == 302
    with in_tenant("alpha"):
        run_due()
        check(card, "open", 3)
    assert "Restrictions" not in mira.get(address).content.decode()
