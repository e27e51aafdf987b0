"""Erases the personal texts of directives, and of the signals that tell of them."""

from collections.abc import Collection
from typing import NamedTuple
from uuid import UUID

from django.db import transaction

from directives.models import Directive
from signals.models import Signal


class Erased(NamedTuple):
    """How many rows were erased now; a directive counts even if it had no personal text."""

    directives: int
    signals: int


@transaction.atomic
def erase(directive_ids: Collection[UUID]) -> Erased:
    """Erase the personal texts of directives of the active tenant and of their signals, for good.

    An erased directive is not executed any more. A running attempt ends without an effect, unless it is
    about to commit: then this waits for the commit.
    """
    # In the order in which attempts lock them.
    found = Directive.objects.filter(pk__in=directive_ids, personal__isnull=False)
    ids = list(found.order_by("pk").select_for_update().values_list("pk", flat=True))
    directives = Directive.objects.filter(pk__in=ids).update(personal=None)
    # After the lock: an attempt has stored its signals by now.
    signals = Signal.objects.filter(causation_id__in=[str(pk) for pk in directive_ids])
    return Erased(directives, signals.erase())
