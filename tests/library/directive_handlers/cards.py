"""Directives that block a reader's card for a reason, and lift that."""

from typing import Annotated

from directives.handlers import DirectivePayload, Reference
from directives.lifting import LiftingHandler
from directives.restrictions import RestrictingHandler, RestrictionPayload


class CardPayload(DirectivePayload):
    """Which card."""

    card_id: Annotated[int, Reference("library.card")]


class BlockCardPayload(CardPayload, RestrictionPayload):
    """Which card, and what to say about it."""


class Block(RestrictingHandler):
    """Blocks a card."""

    name = "library.card.block"
    label = "Block card"
    Payload = BlockCardPayload
    subject_field = "card_id"
    inverse = "library.card.unblock"
    signal = "library.card.blocked"
    kinds = ("blocked",)


class Unblock(LiftingHandler):
    """Lifts what blocks a card."""

    name = "library.card.unblock"
    label = "Unblock card"
    Payload = CardPayload
    subject_field = "card_id"
    inverse = "library.card.block"
    signal = "library.card.unblocked"
    kinds = ("blocked",)
